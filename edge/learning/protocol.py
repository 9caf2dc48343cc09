"""What a node and its trainer process say to each other over a pipe.

A frame is two lengths, a msgpack head, and bulk: the arrays, which go from memory to pipe to memory as they are.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, TypeVar

import msgspec

from privacy.accounting.ledger import Budget, Limit
from privacy.boundary.messages import Encoding, Refusal
from privacy.identity.secret import Secret, as_bytes, secret_of
from privacy.secure_sum.exchange import Part

LENGTHS = struct.Struct(">QQ")
PIPE_BYTES = 1 << 20
"""Of each pipe, where the kernel allows: an array crosses in fewer turns of the two processes."""
BAD_STORE, BAD_APP = 3, 5
"""Exit statuses of a trainer that cannot begin. It prints nothing, so these are all that it says of it."""
Frame = TypeVar("Frame", bound=msgspec.Struct)


class Workplace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame: where the trainer works, and by which rules. The key goes no other way than this pipe.

    Attributes:
        app: `module:object` of a Flower `ClientApp`, or of a function that makes one from a `Site`.
        node_config: what a Flower app reads in `context.node_config`.
        only_masked: refuse what is not part of a secure sum.
        min_cohort: of how many nodes a secure sum is at least.
        units: epsilon and delta of single privacy units, where they are not the node's own.
    """

    database: str
    key: Secret
    node_id: int
    app: str
    epsilon: float
    delta: float
    record_lifetime_s: float
    threads: int
    node_config: dict[str, str | int | float | bool]
    only_masked: bool = False
    min_cohort: int = 3
    units: dict[str, tuple[float, float]] = {}

    @property
    def budget(self) -> Budget:
        units = {name: Limit(*limit) for name, limit in self.units.items()}
        return Budget(self.epsilon, self.delta, self.record_lifetime_s, units)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task: the Flower message and the app's state from before. The joined arrays of its blob are its bulk.

    Attributes:
        helper: the second aggregator that the node would seal a seed to; None where it trusts none now.
    """

    flower: memoryview
    sizes: list[int]
    encoding: Encoding
    context: memoryview | None
    helper: str | None = None


class Masked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That the reply's arrays are a masked share of a sum, and what unmasks them: it leaves the node sealed alone.

    Attributes:
        helper: party of the helper that the seed is for.
        round_number, part: of the sum.
        assignment: hash of the task (`boundary.assignment`).
        seed: 32 bytes.
    """

    helper: str
    round_number: int
    part: Part
    assignment: bytes
    seed: Secret

    def __repr__(self) -> str:
        return f"<Masked for {self.helper}, round {self.round_number}, {self.part}>"


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of it: a reply and the app's new state, or a refusal. The packed arrays are its bulk.

    `detail` stays on the node.
    """

    flower: memoryview = memoryview(b"")
    sizes: list[int] = []
    context: memoryview | None = None
    refusal: Refusal | None = None
    detail: str = ""
    masked: Masked | None = None


def write_frame(stream: BinaryIO, frame: msgspec.Struct, bulk: bytes | memoryview = b"") -> None:
    head = msgspec.msgpack.encode(frame, enc_hook=as_bytes)
    stream.write(LENGTHS.pack(len(head), len(bulk)) + head)
    stream.write(bulk)
    stream.flush()


def read_frame(stream: BinaryIO, kind: type[Frame]) -> tuple[Frame, memoryview] | None:
    """The next frame and its bulk; None where the other side has closed the pipe, also in the middle of a frame."""
    lengths = _read(stream, LENGTHS.size)
    if lengths is None:
        return None
    head_bytes, bulk_bytes = LENGTHS.unpack(lengths)
    head = _read(stream, head_bytes)
    bulk = _read(stream, bulk_bytes)
    if head is None or bulk is None:
        return None
    return msgspec.msgpack.decode(head, type=kind, dec_hook=secret_of), bulk


def _read(stream: BinaryIO, wanted: int) -> memoryview | None:
    room = left = memoryview(bytearray(wanted))
    while left:
        read = stream.readinto(left)  # type: ignore[attr-defined]
        if not read:
            return None
        left = left[read:]
    return room
