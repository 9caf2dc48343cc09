"""The adapter to Flower: each name that Flower does not promise to keep, and messages that survive the way."""

import importlib
import os
import subprocess
import sys
from logging import getLogger
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.proto.message_pb2 import Message as ProtoMessage
from hypothesis import given
from hypothesis import strategies as st

from privacy.boundary.flower import (
    CENTRE,
    BadFlowerMessage,
    array_items,
    check_reply,
    context_bytes,
    context_of,
    enter_run,
    fill,
    head_of,
    message_of,
    quieten,
    refusal_message,
    set_message_id,
)
from privacy.boundary.messages import Refusal

LARGEST = 2**64 - 1
NOT_PUBLIC = [
    ("flwr.app.message", "make_message"),
    ("flwr.common.constant", "SUPERLINK_NODE_ID"),
    ("flwr.common.constant", "ErrorCode"),
    ("flwr.common.serde", "context_from_proto"),
    ("flwr.common.serde", "context_to_proto"),
    ("flwr.common.serde", "message_from_proto"),
    ("flwr.common.serde", "message_to_proto"),
    ("flwr.proto.message_pb2", "Context"),
    ("flwr.proto.message_pb2", "Message"),
    ("flwr.supercore.run", "Run"),
    ("flwr.supercore.task_identity", "TaskIdentity"),
    ("google.protobuf.message", "DecodeError"),
]


@pytest.fixture(autouse=True)
def _in_a_run() -> None:
    enter_run(LARGEST, CENTRE)


def task(content: RecordDict | None = None, *, node_id: int = LARGEST - 1, message_type: str = "train") -> Message:
    message = Message(RecordDict() if content is None else content, node_id, message_type, group_id="3", ttl=60.0)
    set_message_id(message, "0123456789abcdef0123456789abcdef")
    return message


def everything() -> RecordDict:
    """Content with every type that Flower's records hold, in an order that is no alphabet's."""
    return RecordDict(
        {
            "z": ArrayRecord({"w": Array(np.arange(6.0).reshape(2, 3)), "b": Array(np.array(1, np.int64))}),
            "metrics": MetricRecord(
                {"loss": 0.25, "n": LARGEST, "minus": -(2**63), "list": [1.5, -2.5], "ints": [1, 2]}
            ),
            "config": ConfigRecord(
                {"text": "é", "bytes": b"\x00\xff", "bool": True, "ints": [1, 2], "texts": ["a", ""], "float": 1e-9}
            ),
            "a": ArrayRecord({"w": Array(np.zeros((0, 4), np.float32))}),
            "none": ArrayRecord(),
            "nothing": MetricRecord(),
        }
    )


def rebuilt(message: Message) -> Message:
    """What a message is after its way: the head, and the arrays put back."""
    arrays = {(name, key): array for name, key, array in array_items(message.content)}
    arrived = message_of(head_of(message))
    fill(arrived, arrays)
    return arrived


# Names


@pytest.mark.parametrize(("module", "name"), NOT_PUBLIC)
def test_flower_still_has(module, name):
    assert hasattr(importlib.import_module(module), name), (
        f"flwr moved {module}.{name}: find its new place and change privacy/boundary/flower.py"
    )


def test_the_list_of_names_is_the_adapter_s_own():
    """So that a name that is added there is tested here."""
    lines = Path(importlib.import_module("privacy.boundary.flower").__file__).read_text(encoding="utf-8")
    block = lines.split("# --- not public")[1].split("# ----")[0]
    imported = {
        (line.split()[1], name.split(" as ")[0].strip())
        for line in block.splitlines()
        if line.startswith("from ")
        for name in line.partition(" import ")[2].split(",")
    }
    assert imported == set(NOT_PUBLIC)


def test_nothing_else_in_the_project_touches_flower_s_insides():
    """The documented packages are `flwr.app`, `flwr.clientapp` and `flwr.serverapp`, and what lies right below them."""
    allowed = ("flwr.app", "flwr.clientapp", "flwr.serverapp")
    root = Path(importlib.import_module("privacy").__path__[0]).parent
    imports = [
        (str(path), line)
        for package in ("edge", "aggregator", "privacy")
        for path in (root / package).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.lstrip().startswith(("from flwr", "import flwr"))
    ]
    outside = [
        (path, line)
        for path, line in imports
        if not path.endswith("boundary/flower.py") and not line.split()[1].startswith(allowed)
    ]
    assert imports
    assert outside == []


def test_importing_the_adapter_switches_telemetry_off_whatever_the_environment_says():
    code = (
        "import privacy.boundary.flower, os; from flwr.supercore import telemetry;"
        "print(os.environ['FLWR_TELEMETRY_ENABLED'], telemetry.FLWR_TELEMETRY_ENABLED)"
    )
    environment = os.environ | {"FLWR_TELEMETRY_ENABLED": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == ["0", "0"]


def test_flower_speaks_from_warnings_up():
    quieten()
    assert not getLogger("flwr").isEnabledFor(20)
    assert getLogger("flwr").isEnabledFor(30)


# Messages


def test_a_message_with_every_kind_of_record_survives_its_way():
    sent = task(everything())
    arrived = rebuilt(sent)
    assert list(arrived.content) == list(sent.content)
    assert arrived.content == sent.content
    assert vars(arrived.metadata) == vars(sent.metadata)


@given(st.lists(st.tuples(st.text(max_size=8), st.lists(st.text(max_size=8), unique=True, max_size=4)), max_size=8))
def test_many_records_keep_their_order_and_their_keys(records):
    enter_run(1, CENTRE)
    content = RecordDict()
    for number, (name, keys) in enumerate(records):
        content[name] = (
            MetricRecord(dict.fromkeys(keys, number))
            if number % 3 == 2
            else ArrayRecord({key: Array(np.array([number, i])) for i, key in enumerate(keys)})
        )
    sent = task(content)
    arrived = rebuilt(sent)
    assert arrived.content == content
    assert [(name, key) for name, key, _ in array_items(arrived.content)] == [
        (name, key) for name, key, _ in array_items(sent.content)
    ]


def test_a_head_has_names_shapes_and_dtypes_and_none_of_the_values():
    values = np.frombuffer(b"a recognisable secret!!!", np.float64)
    message = task(RecordDict({"model": ArrayRecord({"w": Array(values)})}))
    head = head_of(message)
    assert b"recognisable" not in head
    assert message.content["model"]["w"].numpy().tolist() == values.tolist(), "the message itself keeps them"
    empty = message_of(head).content["model"]["w"]
    assert (empty.dtype, tuple(empty.shape), empty.stype, empty.data) == ("float64", (3,), "numpy.ndarray", b"")


def test_one_message_has_one_head():
    assert head_of(task(everything())) != b""
    sent = task(everything())
    assert head_of(sent) == head_of(sent) == head_of(message_of(head_of(sent)))


def test_an_error_survives_its_way():
    arrived = message_of(head_of(Message(Error(3, "why"), reply_to=task())))
    assert (arrived.has_content(), arrived.error.code, arrived.error.reason) == (False, 3, "why")


@given(st.integers(1, LARGEST), st.integers(2, LARGEST))
def test_ids_are_whole_to_the_last_bit(run_id, node_id):
    """2**53 + 1 is the first integer that a float forgets."""
    enter_run(run_id, CENTRE)
    sent = task(node_id=node_id)
    asked = message_of(head_of(sent))
    enter_run(run_id, node_id)
    reply = message_of(head_of(Message(RecordDict(), reply_to=asked)))
    assert (asked.metadata.run_id, asked.metadata.dst_node_id, asked.metadata.src_node_id) == (run_id, node_id, CENTRE)
    assert (reply.metadata.run_id, reply.metadata.src_node_id, reply.metadata.dst_node_id) == (run_id, node_id, CENTRE)
    check_reply(reply, sent.metadata, node_id)


def test_entering_a_run_gives_flower_s_run_and_makes_messages_possible():
    run = enter_run(LARGEST, 5)
    assert run.run_id == LARGEST
    assert Message(RecordDict(), 7, "train").metadata.src_node_id == 5


# Replies


def test_a_reply_names_the_task_it_answers():
    sent = task()
    reply = Message(RecordDict(), reply_to=message_of(head_of(sent)))
    assert reply.metadata.reply_to_message_id == sent.metadata.message_id
    check_reply(reply, sent.metadata, LARGEST - 1)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("_run_id", 1, "run 1,"),
        ("_src_node_id", 12, "node 12,"),
        ("_dst_node_id", 12, "recipient 12,"),
        ("_reply_to_message_id", "", "task '',"),
        ("_reply_to_message_id", "f" * 32, "task 'ffff"),
        ("_message_type", "evaluate", "message type 'evaluate'"),
    ],
)
def test_a_reply_that_says_anything_else_than_its_task_is_named(field, value, said):
    sent = task()
    reply = Message(RecordDict(), reply_to=sent)
    vars(reply.metadata)[field] = value
    with pytest.raises(BadFlowerMessage, match=f"reply names {said}.*expected"):
        check_reply(message_of(head_of(reply)), sent.metadata, LARGEST - 1)


def test_a_reply_to_a_task_of_another_node_is_named():
    """The signature says who sent it, and another node's task is not this one's to answer."""
    sent = task()
    with pytest.raises(BadFlowerMessage, match=rf"names node {LARGEST - 1}, expected 12"):
        check_reply(Message(RecordDict(), reply_to=sent), sent.metadata, 12)


@pytest.mark.parametrize("refusal", list(Refusal))
def test_a_refusal_is_an_error_reply_with_a_fixed_reason(refusal):
    sent = task()
    refused = refusal_message(sent.metadata, refusal)
    assert refused.has_error()
    assert refused.error.reason == refusal.value
    check_reply(refused, sent.metadata, LARGEST - 1)
    check_reply(message_of(head_of(refused)), sent.metadata, LARGEST - 1)


def test_a_refusal_of_a_task_that_has_expired_can_be_made():
    sent = task()
    sent.metadata.created_at -= 3600
    assert refusal_message(sent.metadata, Refusal.GAVE_UP).has_error()


# Hostile bytes


def head() -> bytes:
    enter_run(LARGEST, CENTRE)
    return head_of(task(everything()))


@given(st.binary(max_size=300))
def test_random_bytes_are_a_message_or_are_named(data):
    try:
        message_of(data)
    except BadFlowerMessage as why:
        assert f"{len(data)} bytes" in str(why)  # noqa: PT017


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_changed_message_is_a_message_or_is_named(changes):
    """Flower's readers raise whatever comes; a round must not end by it."""
    changed = bytearray(head())
    for position, value in changes:
        changed[position % len(changed)] = value
    try:
        message_of(bytes(changed))
    except BadFlowerMessage:
        return


def test_the_beginning_of_a_message_is_a_message_or_is_named():
    whole, named = head(), 0
    for length in range(len(whole)):
        try:
            message_of(whole[:length])
        except BadFlowerMessage:
            named += 1
    assert named > len(whole) // 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda proto: proto.ClearField("content"),
        lambda proto: proto.error.CopyFrom(type(proto.error)(code=1)),
        lambda proto: setattr(proto.metadata, "message_type", "exfiltrate"),
        lambda proto: proto.content.items[1].metric_record.items.add(key="nothing"),
        lambda proto: proto.content.items.add(key="nothing"),
    ],
    ids=["neither content nor error", "both", "an unknown type", "a metric without a value", "a record of no kind"],
)
def test_a_message_that_contradicts_itself_is_named(damage):
    proto = ProtoMessage.FromString(head())
    damage(proto)
    with pytest.raises(BadFlowerMessage):
        message_of(proto.SerializeToString())


# Contexts


def test_a_context_survives_the_end_of_its_process():
    context = Context(LARGEST, LARGEST - 1, {"partition": 3, "name": "x"}, everything(), {"lr": 0.5, "on": True})
    kept = context_of(context_bytes(context))
    assert (kept.run_id, kept.node_id) == (LARGEST, LARGEST - 1)
    assert kept.node_config == context.node_config
    assert kept.run_config == context.run_config
    assert kept.state == context.state
    assert context_bytes(kept) == context_bytes(context)


def test_a_damaged_context_is_named():
    with pytest.raises(BadFlowerMessage, match="4 bytes are no Flower context"):
        context_of(b"\xff\xff\xff\xff")
