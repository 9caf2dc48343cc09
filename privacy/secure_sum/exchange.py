"""Messages of a secure sum: a node's sealed seed, and what leader and helper say to each other of a round."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from privacy.identity.keys import SEALED_KEY_BYTES, TAG_BYTES

SEED_BYTES = 32
SEALED_SEED_BYTES = SEALED_KEY_BYTES + SEED_BYTES + TAG_BYTES
SIGNATURE_BYTES = 64
MOST_ELEMENTS = 16 * 1024 * 1024
MOST_SCALARS = 1024
Assignment = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""Hash of what nodes were asked (`boundary.assignment`)."""
Party = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
MOST_NODES = 100_000
MOST_STEPS = 2**53
RANDOM_BYTES = 32
Random = Annotated[bytes, msgspec.Meta(min_length=RANDOM_BYTES, max_length=RANDOM_BYTES)]
Round = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
Parties = Annotated[list[Party], msgspec.Meta(max_length=MOST_NODES)]
Cohort = Annotated[int, msgspec.Meta(ge=2, le=MOST_NODES)]


class Part(StrEnum):
    """What of a round is summed: one sum of each a round."""

    TRAIN = "train"
    EVALUATE = "evaluate"


class NodeTerms(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node says of its own part; signed with the seed and inside its seal. None of it depends on a record.

    Attributes:
        cohort: fewest nodes of a sum, as the node believes; its share of a noise is scaled to it.
        sigma: standard deviation of the noise that it added, in whole steps of the code; 0 where it added none.
        group: from 0; the group that the task named.
    """

    cohort: Cohort
    sigma: Annotated[int, msgspec.Meta(ge=0, le=MOST_STEPS)]
    group: Annotated[int, msgspec.Meta(ge=0, le=MOST_NODES)]


class SealedSeed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The helper's share of a contribution: a seed that the helper alone can open, and its node's signature. 1.3 kB."""

    said: NodeTerms
    sealed: Annotated[bytes, msgspec.Meta(min_length=SEALED_SEED_BYTES, max_length=SEALED_SEED_BYTES)]
    signature: Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class SumRefusal(StrEnum):
    """Why a helper does not add up a group."""

    TOO_FEW = "fewer nodes than this helper's least cohort"
    NOT_APPROVED = "a node that the helper's own organisation has not approved"
    OTHER_KEY = "a node that has another key than the one that the helper's organisation approved"
    UNKNOWN = "a node whose certificate the helper has not seen"
    BAD_SEED = "a seed that its node did not seal for this round"
    SEED_USED = "a seed that was used before"
    COUNTED = "a node that was counted in this round already"
    NOT_DRAWN = "a round whose groups this helper did not draw, or no longer knows"
    DRAWN = "a round whose groups were drawn before"
    UNUSED = "too many draws of which no sum was asked for"
    EXPIRED = "a round whose time is over"
    NOT_REVEALED = "a number that does not go with what the leader committed to"
    SMALL_COHORT = "a node that counts on more nodes than this helper's least cohort"
    UNEVEN = "nodes that count on different cohorts, or added different noise"
    OTHER_GROUP = "a node that was told another group than the one drawn"
    NOT_WHOLE = "nodes that are not one whole group of the round's draw"
    ABSENT = "a group of which too many nodes are left out"
    CLOSED = "a round that was closed with other nodes"
    MALFORMED = "a request that no honest leader makes"


class DrawRequest(msgspec.Struct, frozen=True, tag="draw", forbid_unknown_fields=True):
    """The leader asks for the helper's part of the draw that puts the nodes of one sum into groups.

    Attributes:
        round_number: from 1; the run is in the message's header.
        commitment: hash of the leader's own random number (`secure_sum.draw`), which it tells with its first request.
        nodes: all that will be asked, in order.
        group_size: nodes of a group, or a few more.
        min_cohort: the leader's own: smaller groups are merged.
        lifetime_s: for how long seeds of this sum are to count.
    """

    round_number: Round
    part: Part
    commitment: Random
    nodes: Annotated[list[Party], msgspec.Meta(min_length=1, max_length=MOST_NODES)]
    group_size: Cohort
    min_cohort: Cohort
    lifetime_s: Annotated[float, msgspec.Meta(gt=0)]


class Draw(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The helper's signed part of a draw. It goes to every node inside its task.

    Attributes:
        commitment: the leader's.
        nonce: the helper's own random number.
        min_cohort: fewest nodes that this helper makes a sum of.
        expires_at: seconds since the epoch; seeds of this draw do not count afterwards.
    """

    commitment: Random
    nonce: Random
    min_cohort: Cohort
    expires_at: float
    signature: Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class DrawShare(msgspec.Struct, frozen=True, tag="draw", forbid_unknown_fields=True):
    """The helper's part of a draw, or why there is none, and because of whom."""

    draw: Draw | None = None
    refusal: SumRefusal | None = None
    because_of: Parties = []


class SumRequest(msgspec.Struct, frozen=True, tag="sum", forbid_unknown_fields=True):
    """The leader asks for the sum of the masks of one group.

    Attributes:
        round_number: from 1; the run is in the message's header.
        part: of the round.
        assignment: what all these nodes were asked; seeds for anything else do not count.
        bits: width of the ring of the arrays' elements.
        elements: length of a vector of arrays, and
        scalars: of the weight and the metrics beside it.
        seeds: the helper's shares, by node.
        reveal: the random number that the leader committed to before the groups were drawn.
        absent: nodes of the draw that are in no sum of this round; the same in every request of one sum.
    """

    round_number: Round
    part: Part
    assignment: Assignment
    bits: Literal[16, 32, 64]
    elements: Annotated[int, msgspec.Meta(ge=0, le=MOST_ELEMENTS)]
    scalars: Annotated[int, msgspec.Meta(ge=1, le=MOST_SCALARS)]
    seeds: Annotated[dict[Party, SealedSeed], msgspec.Meta(min_length=1, max_length=MOST_NODES)]
    reveal: Random
    absent: Parties = []


class SumShare(msgspec.Struct, frozen=True, tag="sum", forbid_unknown_fields=True):
    """The helper's half of a group's sum, or why there is none, and because of whom.

    Attributes:
        elements: ring elements of the arrays, little-endian.
        scalars: of the weight and metrics, 64 bits each.
    """

    elements: bytes = b""
    scalars: bytes = b""
    refusal: SumRefusal | None = None
    because_of: Parties = []
