"""All identifiers that a node stores, made small and quick to ask: was one like this heard at all?

Twenty million identifiers of published keys are asked for, and hardly any was heard. So each is first looked up in a
table of flags by its last bits (a few nanoseconds, and it turns away fifteen of sixteen), what is left in another by
its first bits, and what is left then among the sorted 64-bit prefixes. Two different identifiers can share a prefix:
whoever compares all 16 bytes afterwards makes the answer exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.tokens.gaen import IDENTIFIER_BYTES

FLAGS_A_PREFIX = 16
SMALLEST_TABLE, LARGEST_TABLE = 12, 25
"""Bits of a prefix that choose a flag."""

PREFIX_BITS = 64


@dataclass(frozen=True, slots=True)
class HeardIndex:
    """The first half of every stored identifier.

    Memory: 8 bytes an identifier, and 16 to 32 in each table, of which none has more than 34 MB.

    Attributes:
        prefixes: first 8 bytes of each, as signed numbers, ascending, each once.
        by_last_bits: whether a prefix ends in these bits.
        by_first_bits: whether a prefix begins with these bits.
    """

    prefixes: NDArray[np.int64]
    by_last_bits: NDArray[np.bool_]
    by_first_bits: NDArray[np.bool_]

    @classmethod
    def of(cls, days: Iterable[bytes]) -> HeardIndex:
        """From the identifiers (n x 16 bytes) of one day after another; a day's are let go before the next comes."""
        parts = [distinct(prefixes_of(identifiers)) for identifiers in days]
        prefixes = distinct(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
        bits = min(max((FLAGS_A_PREFIX * len(prefixes)).bit_length(), SMALLEST_TABLE), LARGEST_TABLE)
        index = cls(prefixes, np.zeros(1 << bits, bool), np.zeros(1 << bits, bool))
        index.by_last_bits[index._last_bits(prefixes)] = True
        index.by_first_bits[index._first_bits(prefixes)] = True
        return index

    def candidates(self, asked: NDArray[np.int64]) -> NDArray[np.intp]:
        """Positions in `asked` (prefixes) of those that were heard; nothing that was heard is missed."""
        at = np.flatnonzero(self.by_last_bits[self._last_bits(asked)])
        at = at[self.by_first_bits[self._first_bits(asked[at])]]
        found: NDArray[np.intp] = at[contains(self.prefixes, asked[at])]
        return found

    def _last_bits(self, prefixes: NDArray[np.int64]) -> NDArray[np.int64]:
        return prefixes & (len(self.by_last_bits) - 1)

    def _first_bits(self, prefixes: NDArray[np.int64]) -> NDArray[np.int64]:
        mask = len(self.by_first_bits) - 1
        return (prefixes >> (PREFIX_BITS - mask.bit_length())) & mask


def prefixes_of(identifiers: bytes) -> NDArray[np.int64]:
    """First 8 bytes of each identifier (n x 16 bytes), as numbers [n]; a view."""
    if len(identifiers) % IDENTIFIER_BYTES:
        raise ValueError(f"{len(identifiers)} bytes are no whole number of identifiers")
    return np.frombuffer(identifiers, "<i8")[::2]


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending, each once."""
    ordered = np.sort(numbers)
    kept = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=kept[1:])
    return ordered[kept]


def contains(ascending: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of `asked` is among the ascending numbers [n]."""
    if not len(ascending):
        return np.zeros(len(asked), bool)
    at = np.minimum(np.searchsorted(ascending, asked), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[at] == asked
    return found
