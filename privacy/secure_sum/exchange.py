"""What travels: a node's sealed seed, and what leader and helper say to each other about one group of nodes."""

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


class Part(StrEnum):
    """What of a round is summed: one sum of each a round."""

    TRAIN = "train"
    EVALUATE = "evaluate"


class SealedSeed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The helper's share of a contribution: a seed that the helper alone can open, and its node's signature. 1.3 kB."""

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
    MALFORMED = "a request that no honest leader makes"


class SumRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The leader asks for the sum of the masks of one group.

    Attributes:
        round_number: from 1; the run is in the message's header.
        part: of the round.
        assignment: what all these nodes were asked; seeds for anything else do not count.
        bits: width of the ring of the arrays' elements.
        elements: length of a vector of arrays, and
        scalars: of the weight and the metrics beside it.
        seeds: the helper's shares, by node.
    """

    round_number: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    part: Part
    assignment: Assignment
    bits: Literal[16, 32, 64]
    elements: Annotated[int, msgspec.Meta(ge=0, le=MOST_ELEMENTS)]
    scalars: Annotated[int, msgspec.Meta(ge=1, le=MOST_SCALARS)]
    seeds: Annotated[dict[Party, SealedSeed], msgspec.Meta(min_length=1, max_length=100_000)]


class SumShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The helper's half of a group's sum, or why there is none, and because of whom.

    Attributes:
        elements: ring elements of the arrays, little-endian.
        scalars: of the weight and metrics, 64 bits each.
    """

    elements: bytes = b""
    scalars: bytes = b""
    refusal: SumRefusal | None = None
    because_of: Annotated[list[Party], msgspec.Meta(max_length=100_000)] = []
