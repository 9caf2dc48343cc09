"""The one place that touches what Flower does not promise to keep.

Everything imported below `not public` may move with any release of flwr, which is why flwr is pinned exactly, and why
`tests/privacy/test_flower_adapter.py` exercises each name. The rest of Jaga uses Flower's documented API alone.
"""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # before the first import of flwr: nothing phones home

import logging
from collections.abc import Iterator, Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, Metadata, MetricRecord, RecordDict

# --- not public ------------------------------------------------------------------------------------------------------
from flwr.app.message import make_message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import context_from_proto, context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from google.protobuf.message import DecodeError

# ---------------------------------------------------------------------------------------------------------------------
from privacy.boundary.messages import Refusal

CENTRE = int(SUPERLINK_NODE_ID)
"""Flower's node id of the server side."""

FlowerRun = Run
"""What Flower's `Grid.run` is."""


class BadFlowerMessage(ValueError):
    """Bytes that are no Flower message, or not the one they should be."""


UNREADABLE = (DecodeError, ValueError, TypeError, KeyError, AttributeError)
"""What Flower's own readers raise for bytes that it did not write; they were made for a trusted SuperLink."""


def enter_run(run_id: int, node_id: int) -> Run:
    """Tell Flower which run and node this process is; `Message(...)` cannot be made before. Global to the process."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, node_id, 1
    return Run.create_empty(run_id=run_id)


def quieten() -> None:
    """Let Flower's own logger speak from warnings up: Jaga logs the rounds itself."""
    logging.getLogger("flwr").setLevel(logging.WARNING)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message its id, which SuperLink would do; a reply refers to it."""
    message.metadata.__dict__["_message_id"] = message_id


def array_items(content: RecordDict) -> Iterator[tuple[str, str, Array]]:
    """Every array of a message's content as (record name, key, array), in the order that survives serialisation."""
    for name, record in content.items():
        if isinstance(record, ArrayRecord):
            for key, array in record.items():
                yield name, key, array


def array_records(content: RecordDict) -> dict[str, ArrayRecord]:
    """The array records of a message's content, by name.

    Flower's own property of that name leaves a reference cycle behind, which keeps all of the content's arrays in
    memory until the garbage collector comes by.
    """
    return {name: record for name, record in content.items() if isinstance(record, ArrayRecord)}


def metric_records(content: RecordDict) -> dict[str, MetricRecord]:
    """The metric records of a message's content, by name; see `array_records`."""
    return {name: record for name, record in content.items() if isinstance(record, MetricRecord)}


def config_records(content: RecordDict) -> dict[str, ConfigRecord]:
    """The config records of a message's content, by name; see `array_records`."""
    return {name: record for name, record in content.items() if isinstance(record, ConfigRecord)}


def head_of(message: Message) -> bytes:
    """The message as bytes, without the bytes of its arrays (their names, dtypes and shapes stay)."""
    if not message.has_content():
        return bytes(message_to_proto(message).SerializeToString(deterministic=True))
    light = RecordDict(
        {
            name: (
                ArrayRecord({key: Array(a.dtype, tuple(a.shape), a.stype, b"") for key, a in record.items()})
                if isinstance(record, ArrayRecord)
                else record
            )
            for name, record in message.content.items()
        }
    )
    bare = make_message(metadata=message.metadata, content=light)
    return bytes(message_to_proto(bare).SerializeToString(deterministic=True))


def message_of(head: bytes | memoryview) -> Message:
    """The inverse of `head_of`; the arrays are there, and empty.

    Raises:
        BadFlowerMessage: the bytes are no Flower message.
    """
    try:
        return message_from_proto(ProtoMessage.FromString(bytes(head)))
    except UNREADABLE as why:
        raise BadFlowerMessage(f"{len(head)} bytes are no Flower message: {why}") from why


def fill(message: Message, arrays: Mapping[tuple[str, str], Array]) -> None:
    """Put arrays, by (record name, key), in the places that `message_of` left empty."""
    for name, record in array_records(message.content).items():
        for key in list(record):
            record[key] = arrays[name, key]


def refusal_message(task: Metadata, refusal: Refusal) -> Message:
    """What Flower's strategies get for a task that a node refused: an error whose reason is one of the fixed words."""
    code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION if refusal is Refusal.TRAINING_FAILED else ErrorCode.NODE_UNAVAILABLE
    return Message(Error(code, refusal.value), reply_to=make_message(metadata=task, content=RecordDict()))


def spoiled(reply: Message, refusal: Refusal) -> Message:
    """An error in the place of a reply whose content cannot be used; it is the same node's, to the same task."""
    return make_message(metadata=reply.metadata, error=Error(ErrorCode.NODE_UNAVAILABLE, refusal.value))


def check_reply(reply: Message, task: Metadata, node_id: int) -> None:
    """What a reply says of itself must agree with the task and with the node that signed it.

    Raises:
        BadFlowerMessage: quoting both values that disagree.
    """
    said = reply.metadata
    for name, found, expected in (
        ("run", said.run_id, task.run_id),
        ("node", said.src_node_id, node_id),
        ("recipient", said.dst_node_id, task.src_node_id),
        ("addressee", task.dst_node_id, node_id),
        ("task", said.reply_to_message_id, task.message_id),
        ("message type", said.message_type, task.message_type),
    ):
        if found != expected:
            raise BadFlowerMessage(f"reply names {name} {found!r}, expected {expected!r}")


def check_consistency(replies: list[RecordDict], weighted_by: str) -> None:
    """Flower's own check that training replies can be averaged: one array and one metric record each, the same keys.

    Raises:
        flwr.serverapp.exception.InconsistentMessageReplies: they cannot.
    """
    from flwr.serverapp.strategy.strategy_utils import (  # noqa: PLC0415  nodes need none of the server side
        validate_message_reply_consistency,
    )

    validate_message_reply_consistency(replies, weighted_by, check_arrayrecord=True)


def with_content(message: Message, content: RecordDict) -> Message:
    """A message with the same metadata and other content."""
    return make_message(metadata=message.metadata, content=content)


def context_bytes(context: Context) -> bytes:
    """A ClientApp's context, with the state that must outlive its process."""
    return bytes(context_to_proto(context).SerializeToString(deterministic=True))


def context_of(data: bytes) -> Context:
    """The inverse of `context_bytes`.

    Raises:
        BadFlowerMessage: the bytes are no Flower context.
    """
    try:
        return context_from_proto(ProtoContext.FromString(data))
    except UNREADABLE as why:
        raise BadFlowerMessage(f"{len(data)} bytes are no Flower context: {why}") from why
