"""What leader and helper say to each other about one group of nodes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from privacy.secure_sum.seeds import Part, SealedSeed

MOST_ELEMENTS = 16 * 1024 * 1024
MOST_SCALARS = 1024
Party = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class SumRefusal(StrEnum):
    """Why a helper does not add up a group."""

    TOO_FEW = "fewer nodes than this helper's least cohort"
    NOT_APPROVED = "a node that the helper's own organisation has not approved"
    UNKNOWN = "a node whose certificate the helper has not seen"
    BAD_SEED = "a seed that its node did not seal for this round"
    SEED_USED = "a seed that was used before"
    COUNTED = "a node that was counted in this round already"
    MALFORMED = "a request that no honest leader makes"


class SumRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The leader asks for the sum of the masks of one group.

    Attributes:
        round_number: from 1, and `part` of it; the run is in the message's header.
        bits: width of the ring of the arrays' elements.
        elements: length of a vector of arrays, and
        scalars: of the weight and the metrics beside it.
        seeds: the helper's shares, by node.
    """

    round_number: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    part: Part
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
