"""What a node and its trainer process say to each other over a pipe: frames of msgpack, each after its length."""

from __future__ import annotations

from typing import BinaryIO, TypeVar

import msgspec

from privacy.boundary.messages import Encoding, Refusal

LENGTH_BYTES = 8
Frame = TypeVar("Frame", bound=msgspec.Struct)


class Workplace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame: where the trainer works, and by which rules. The key goes no other way than this pipe.

    Attributes:
        app: `module:object` of a Flower `ClientApp`, or of a function that makes one from a `Site`.
        node_config: what a Flower app reads in `context.node_config`.
    """

    database: str
    key: bytes
    node_id: int
    app: str
    epsilon: float
    delta: float
    record_lifetime_s: float
    threads: int
    node_config: dict[str, str | int | float | bool]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task: the Flower message, the joined arrays of its blob, and the app's state from before."""

    flower: memoryview
    arrays: memoryview
    sizes: list[int]
    encoding: Encoding
    context: memoryview | None


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of it: a packed reply and the app's new state, or a refusal. `detail` stays on the node."""

    flower: memoryview = memoryview(b"")
    arrays: memoryview = memoryview(b"")
    sizes: list[int] = []
    context: memoryview | None = None
    refusal: Refusal | None = None
    detail: str = ""


def write_frame(stream: BinaryIO, frame: msgspec.Struct) -> None:
    data = msgspec.msgpack.encode(frame)
    stream.write(len(data).to_bytes(LENGTH_BYTES, "big"))
    stream.write(data)
    stream.flush()


def read_frame(stream: BinaryIO, kind: type[Frame]) -> Frame | None:
    """The next frame; None where the other side has closed the pipe, also in the middle of a frame."""
    length = stream.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    wanted = int.from_bytes(length, "big")
    data = stream.read(wanted)
    return msgspec.msgpack.decode(data, type=kind) if len(data) == wanted else None
