"""The whole list of what may cross: ten kinds of message, as strict typed structs.

A field that is not declared here does not decode, so there is no place for a record to hide in. Times are seconds since
the epoch, UTC. Run and node ids are uint64.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from privacy.secure_sum.exchange import (
    SEALED_SEED_BYTES,
    SIGNATURE_BYTES,
    DrawRequest,
    DrawShare,
    SealedSeed,
    SumRequest,
    SumShare,
)

MESSAGE_ID_BYTES = 16
DIGEST_BYTES = 32
EVERYONE = "*"
SMALL_BYTES = 1024
SIZE_BYTES = 9
"""Of a number in msgpack, at most."""
NAME_SIZE_BYTES = 4 * 64 + 5
SEED_SIZE_BYTES = SEALED_SEED_BYTES + SIGNATURE_BYTES + NAME_SIZE_BYTES + 48
"""Of a sealed seed and the name of its node."""

Id = Annotated[bytes, msgspec.Meta(min_length=MESSAGE_ID_BYTES, max_length=MESSAGE_ID_BYTES)]
Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
UInt64 = Annotated[int, msgspec.Meta(ge=0)]
"""msgpack itself ends at 2**64 - 1."""
Sizes = Annotated[list[UInt64], msgspec.Meta(max_length=65536)]
"""Lengths of arrays in bytes. Bounded, because a Python list takes up to nine times what it was on the wire."""
Der = Annotated[bytes, msgspec.Meta(max_length=8192)]
Region = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,32}\Z")]
"""Where diagnosis keys belong, as in `ID-JK` (ISO 3166-2)."""
BatchName = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,12}-[0-9]{1,4}\Z")]
"""End of the batch's time, seconds since the epoch, and its number among those that end then."""
DayKey = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Interval = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
"""Number of 10 minutes since the epoch (GAEN's ENIntervalNumber)."""
EXPORT_BYTES = 8 * 1024 * 1024
MAX_CASE_KEYS = 30
"""As `MAX_KEYS_ON_PUBLISH` of google/exposure-notifications-server."""


class Kind(StrEnum):
    """The kinds of message; each has its topics in `boundary.topics`."""

    PRESENCE = "presence"
    TASK = "task"
    REPLY = "reply"
    BLOB = "blob"
    CLAIM = "claim"
    CASE = "case"
    KEYS = "keys"
    SUM = "sum"
    SHARE = "share"
    REVOCATIONS = "revocations"


class Encoding(StrEnum):
    """How a reply's arrays travel.

    `exact`: as the app made them. `int8`: each float array as 8-bit steps of its change against the array that the
    task brought, rounded at random so that the mean is unbiased; a quarter of the bytes of float32.
    """

    EXACT = "exact"
    INT8 = "int8"


class Refusal(StrEnum):
    """Why a node did not do a task. Fixed words: an exception's own text could carry a record out."""

    BUDGET_SPENT = "privacy budget spent"
    UNACCOUNTED = "app keeps no privacy ledger, and this node demands one"
    UNDECLARED = "records of this node may not be used so"
    UNKNOWN_TASK = "task not installed on this node"
    NOT_ALLOWED = "task, mechanism or unit not allowed by this node's owner"
    BAD_TASK = "task configuration not acceptable to this node"
    TRAINING_FAILED = "training failed on the node"
    GAVE_UP = "training was interrupted too often"
    BAD_MODEL = "model did not arrive intact"
    BAD_REPLY = "reply could not be used by the centre"
    UNMASKED = "task has no secure sum, and this node demands one"
    NO_HELPER = "no helper that this node trusts for a secure sum"
    SMALL_COHORT = "helper makes sums of fewer nodes than this node counts on"
    NOT_SUMMABLE = "reply cannot be part of a secure sum"


class Unready(StrEnum):
    """Why a node takes no work just now. Fixed words, and of causes that are public: nothing here follows from a
    record."""

    NO_REVOCATION_LIST = "no list of revoked certificates that is valid now"


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a message says of itself in the open, under the sender's signature."""

    kind: Kind
    federation: Name
    sender: Name
    recipient: Name
    run_id: UInt64
    message_id: Id
    reply_to: Id | None
    created_at: float
    expires_at: float
    sealed: bool


class Presence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A party is there, or (as its will) gone. Carries its certificate, so that nobody needs a directory first.

    `unready`: why a node that is there starts no task.
    """

    certificate: Der
    online: bool
    session: Id
    software: Name
    unready: Unready | None = None


class BlobReference(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where the arrays of a task are: published once for all nodes under their hash, closed with `key`.

    `sizes` are the lengths, in bytes, of the arrays in the order of the task's records.
    """

    digest: Digest
    key: Digest
    sizes: Sizes


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Work for one node: a Flower message whose array bytes are in a blob."""

    flower: bytes
    arrays: BlobReference | None
    encoding: Encoding


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node's answer: a Flower message whose array bytes follow, packed; or why there is none.

    `seed`: where the arrays are a masked share of a secure sum, the helper's share, which the leader cannot open.
    """

    flower: memoryview = memoryview(b"")
    arrays: memoryview = memoryview(b"")
    sizes: Sizes = []
    encoding: Encoding = Encoding.EXACT
    refusal: Refusal | None = None
    seed: SealedSeed | None = None


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One coordinator holds a run; an empty retained payload, its will, gives it up."""

    instance: Name
    host: Name


class CaseKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One day key of a confirmed case, all that others need to find out whether they were near.

    Attributes:
        rolling_start: the interval from which the key is good, and
        rolling_period: for how many.
        days_since_onset: from the first day of symptoms (or of the test) to the key's day.
    """

    key: DayKey
    rolling_start: Interval
    rolling_period: Annotated[int, msgspec.Meta(ge=1, le=144)]
    days_since_onset: Annotated[int, msgspec.Meta(ge=-14, le=14)]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a clinic tells the health authority of a case that it confirmed, and nothing else: no name, no place."""

    keys: Annotated[list[CaseKey], msgspec.Meta(min_length=1, max_length=MAX_CASE_KEYS)]
    consent: Name
    """Version of the text that the person agreed to."""


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Diagnosis keys for every node of a region: GAEN's export file, which the health authority signed inside too."""

    region: Region
    batch: BatchName
    export: Annotated[bytes, msgspec.Meta(max_length=EXPORT_BYTES)]


Body = Presence | Task | Reply | Claim | Case | Keys | SumRequest | SumShare | DrawRequest | DrawShare

BODY: dict[Kind, Any] = {
    Kind.PRESENCE: Presence,
    Kind.TASK: Task,
    Kind.REPLY: Reply,
    Kind.CLAIM: Claim,
    Kind.CASE: Case,
    Kind.KEYS: Keys,
    Kind.SUM: SumRequest | DrawRequest,
    Kind.SHARE: SumShare | DrawShare,
}
"""What a body of each kind decodes as. That of a blob is not a struct: it is packed arrays under the key that its task
names. Revocations have no envelope: the payload is the list itself (`identity.revocation`), which the authority signed
and anybody may carry."""

SEALED = frozenset({Kind.TASK, Kind.REPLY, Kind.CASE, Kind.SUM, Kind.SHARE})
"""Kinds whose body only the recipient can open."""


def encode(body: Body) -> bytes:
    return msgspec.msgpack.encode(body)


_ENCODER = msgspec.msgpack.Encoder()


def encode_into(body: Body, buffer: bytearray, at: int) -> None:
    """Write a body into `buffer`, from `at`; the buffer ends with it afterwards."""
    _ENCODER.encode_into(body, buffer, at)


def size_of(body: Body) -> int:
    """About how many bytes `body` takes, and not less where that matters: so that a buffer need not grow."""
    if isinstance(body, Reply):
        seed = 0 if body.seed is None else SEED_SIZE_BYTES
        return len(body.flower) + len(body.arrays) + SIZE_BYTES * len(body.sizes) + seed + SMALL_BYTES
    if isinstance(body, Keys):
        return len(body.export) + SMALL_BYTES
    if isinstance(body, SumRequest):
        return SEED_SIZE_BYTES * len(body.seeds) + NAME_SIZE_BYTES * len(body.absent) + SMALL_BYTES
    if isinstance(body, DrawRequest | DrawShare):
        named = body.nodes if isinstance(body, DrawRequest) else body.because_of
        return NAME_SIZE_BYTES * len(named) + SMALL_BYTES
    if isinstance(body, SumShare):
        return len(body.elements) + len(body.scalars) + NAME_SIZE_BYTES * len(body.because_of) + SMALL_BYTES
    return SMALL_BYTES
