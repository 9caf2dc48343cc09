"""What a node and its trainer process say to each other over a pipe.

A frame is two lengths, a msgpack head, and bulk: the arrays, which go from memory to pipe to memory as they are.
"""

from __future__ import annotations

import math
import struct
from typing import BinaryIO, TypeVar

import msgspec

from edge.learning.bounds import Allowed
from privacy.accounting.ledger import Budget, Limit
from privacy.boundary.messages import Encoding, Refusal
from privacy.secure_sum.exchange import NodeTerms, Part

JAGA_APP = "edge.learning.app:app_for"
"""Value of `[learning] app` for Jaga's own, which answers whatever the records are."""
LENGTHS = struct.Struct(">QQ")
PIPE_BYTES = 1 << 20
"""Of each pipe, where the kernel allows: an array crosses in fewer turns of the two processes."""
Frame = TypeVar("Frame", bound=msgspec.Struct)


class Workplace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame: where the trainer works, and by which rules. The key goes no other way than this pipe.

    Attributes:
        app: `module:object` of a Flower `ClientApp`, or of a function that makes one from a `Site`.
        node_config: what a Flower app reads in `context.node_config`.
        only_masked: refuse what is not part of a secure sum.
        min_cohort: of how many nodes a secure sum is at least.
        units: epsilon and delta of single privacy units, where they are not the node's own.
        allowed: what the node's owner allows.
        speed: of this machine over a Raspberry Pi Zero 2 W; the time of an answer follows from it.
        hold_answers: give an answer when its time has come, not when it is ready.
        nodes_of_site: by how many nodes of the site one person may be heard.
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
    only_masked: bool = False
    min_cohort: int = 3
    units: dict[str, tuple[float, float]] = {}
    allowed: Allowed = Allowed()
    speed: float = 1.0
    hold_answers: bool = True
    nodes_of_site: int = 1

    @property
    def budget(self) -> Budget:
        units = {name: Limit(*limit) for name, limit in self.units.items()}
        return Budget(self.epsilon, self.delta, self.record_lifetime_s, units, self.nodes_of_site)


class TrustedHelper(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The second aggregator that the node would seal a seed to.

    Attributes:
        verify_key: Ed25519, 32 bytes; what draws of groups are signed with.
    """

    party: str
    federation: str
    verify_key: bytes


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task: the Flower message and the app's state from before. The joined arrays of its blob are its bulk.

    Attributes:
        helper: the second aggregator that the node would seal a seed to; None where it trusts none now.
        noise_only: answer without reading a record. An earlier attempt at this task was interrupted; what it read is
            paid for, and nothing is read again.
        seconds: until the task expires.
    """

    flower: memoryview
    sizes: list[int]
    encoding: Encoding
    context: memoryview | None
    helper: TrustedHelper | None = None
    noise_only: bool = False
    seconds: float = math.inf


class Masked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That the reply's arrays are a masked share of a sum, and what unmasks them: it leaves the node sealed alone.

    Attributes:
        helper: party of the helper that the seed is for.
        round_number, part: of the sum.
        assignment: hash of the task (`boundary.assignment`).
        draw: the helper's nonce, which says by which draw the groups were made.
        said: the node's own terms: its group, and cohort and sigma of the noise that was really added.
        seed: 32 bytes.
    """

    helper: str
    round_number: int
    part: Part
    assignment: bytes
    draw: bytes
    said: NodeTerms
    seed: bytes

    def __repr__(self) -> str:
        return f"<Masked for {self.helper}, round {self.round_number}, {self.part}>"


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of it: a reply and the app's new state, or a refusal. The packed arrays are its bulk.

    `detail` says more about a refusal, and depends on no record. `trouble` says why an answer holds noise alone, and
    may depend on records: it is for the node's encrypted store, and for no log.
    """

    flower: memoryview = memoryview(b"")
    sizes: list[int] = []
    context: memoryview | None = None
    refusal: Refusal | None = None
    detail: str = ""
    masked: Masked | None = None
    trouble: str = ""


def write_frame(stream: BinaryIO, frame: msgspec.Struct, bulk: bytes | memoryview = b"") -> None:
    head = msgspec.msgpack.encode(frame)
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
    return msgspec.msgpack.decode(head, type=kind), bulk


def _read(stream: BinaryIO, wanted: int) -> memoryview | None:
    room = left = memoryview(bytearray(wanted))
    while left:
        read = stream.readinto(left)  # type: ignore[attr-defined]
        if not read:
            return None
        left = left[read:]
    return room
