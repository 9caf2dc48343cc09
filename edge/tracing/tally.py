"""Adding up who met whom, ten minutes at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MOST_PAIRS = 500_000
"""So many pairs of tags are kept; beyond, those with the fewest minutes go and their minutes are counted."""


class Tally:
    """Minutes of each pair of known subjects, and of each known subject with all strangers.

    Attributes:
        strangers_minutes: of strangers with each other.
        left_minutes: of pairs that were dropped.
        crowded: subjects that were left out; for the caller to count up.

    Args:
        known: subjects below this number are known; the others are strangers, who live for one `add`.
        most_pairs: see `MOST_PAIRS`.
    """

    def __init__(self, known: int, most_pairs: int = MOST_PAIRS) -> None:
        self.strangers_minutes = 0.0
        self.left_minutes = 0.0
        self.crowded = 0
        self._known = known
        self._most = most_pairs
        self._keys = np.zeros(0, np.int64)
        self._sums = np.zeros((0, 3))
        self._new: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._waiting = 0
        self._tokens = np.zeros(known, np.int64)
        self._minutes = np.zeros(known)
        self._longest = np.zeros(known)

    def add(
        self,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        minutes: NDArray[np.float32],
        windows: NDArray[np.int64],
        certain: NDArray[np.float32],
    ) -> None:
        """Take pairs of subjects [n], each pair once, and what is to be added up of them [n]."""
        low, high = np.minimum(first, second), np.maximum(first, second)
        sums = np.stack([minutes, windows, certain], axis=1).astype(np.float64)
        both = high < self._known
        if both.any():
            self._new.append((low[both] * self._known + high[both], sums[both]))
            self._waiting += int(both.sum())
            if self._waiting > self._most:
                self._merge()
        one = (low < self._known) & ~both
        np.add.at(self._tokens, low[one], 1)
        np.add.at(self._minutes, low[one], sums[one, 0])
        np.maximum.at(self._longest, low[one], sums[one, 0])
        self.strangers_minutes += float(sums[low >= self._known, 0].sum())

    def pairs(self) -> Iterator[tuple[int, int, float, int, float]]:
        """(first, second, minutes, windows, mean probability over the minutes) of each pair."""
        self._merge()
        for key, (minutes, windows, certain) in zip(self._keys.tolist(), self._sums.tolist(), strict=True):
            yield key // self._known, key % self._known, minutes, int(windows), certain / minutes

    def strangers(self) -> Iterator[tuple[int, int, float, float]]:
        """(subject, tokens, minutes, longest with one) of each known subject that met strangers."""
        for at in np.flatnonzero(self._tokens).tolist():
            yield at, int(self._tokens[at]), float(self._minutes[at]), float(self._longest[at])

    def _merge(self) -> None:
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._new)])
        sums = np.concatenate([self._sums, *(sums for _, sums in self._new)])
        self._new.clear()
        self._waiting = 0
        self._keys, at = np.unique(keys, return_inverse=True)
        self._sums = np.zeros((len(self._keys), 3))
        np.add.at(self._sums, at, sums)
        if len(self._keys) > self._most:
            order = np.argsort(-self._sums[:, 0], kind="stable")
            self.left_minutes += float(self._sums[order[self._most :], 0].sum())
            kept = np.sort(order[: self._most])
            self._keys, self._sums = self._keys[kept], self._sums[kept]
