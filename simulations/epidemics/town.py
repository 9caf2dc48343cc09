"""A population in layers of lasting contacts, as households, schools and wards.

A town runs through starsim (`simulations.epidemics.starsims`), or through our own engine as a network of the same
pairs every day (`Town.network`). A generated town (`simulations.world.town`) becomes one, or a network of all contacts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.store.slots import DAY_S, WINDOW_S
from simulations.epidemics.network import TemporalNetwork
from simulations.world.town import Settled


@dataclass(frozen=True, slots=True)
class Layer:
    """Pairs who meet every day in one kind of place.

    Attributes:
        name: of the kind, `household` for instance.
        a: one person of each pair [pairs].
        b: the other [pairs].
        seconds: of contact a day [pairs], s.

    Raises:
        ValueError: columns of different lengths, somebody paired with themselves, or seconds outside 0 to a day.
    """

    name: str
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    seconds: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.a) == len(self.b) == len(self.seconds):
            raise ValueError(f"layer {self.name}: columns of {len(self.a)}, {len(self.b)} and {len(self.seconds)} rows")
        if (self.a == self.b).any():
            raise ValueError(f"layer {self.name}: person {self.a[self.a == self.b][0]} is paired with themselves")
        if not ((self.seconds > 0) & (self.seconds <= DAY_S)).all():
            raise ValueError(f"layer {self.name}: seconds of contact a day are above 0 and {DAY_S} at most")


@dataclass(frozen=True, slots=True)
class Town:
    """People, numbers from 0 on, and the layers in which they meet.

    Raises:
        ValueError: no people, no layers, two of one name, or a pair of somebody who is not there.
    """

    people: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if self.people < 1 or not names:
            raise ValueError(f"a town needs people and a layer, got {self.people} and {len(names)}")
        if len(set(names)) < len(names):
            raise ValueError(f"layers {', '.join(names)}: give each its own name")
        for layer in self.layers:
            ends = np.concatenate([layer.a, layer.b])
            if len(ends) and (ends.min() < 0 or ends.max() >= self.people):
                raise ValueError(
                    f"layer {layer.name} has people {ends.min()} to {ends.max()}, not 0 to {self.people - 1}"
                )

    @classmethod
    def of(cls, settled: Settled) -> Town:
        """A generated town in which each pair meets every day for as long as it does on the mean of its days."""
        return cls(len(settled.home), tuple(_layer(name, settled) for name in settled.layers))

    def network(self, times_a_day: int = 24) -> TemporalNetwork:
        """The same contacts for our own engine, spread evenly over the day."""
        a, b, seconds = (
            np.concatenate([getattr(layer, column) for layer in self.layers]) for column in ("a", "b", "seconds")
        )
        return TemporalNetwork.static(self.people, a, b, seconds, times_a_day)


def every_contact(settled: Settled) -> TemporalNetwork:
    """All contacts of a generated town in their windows, of all its layers."""
    people = len(settled.home)
    rows = [one.windows() for one in settled.layers.values()]
    window, a, b = (np.concatenate(column) for column in zip(*rows, strict=True))
    key = np.unique((window * people + a) * people + b)  # who shares a room and a home meets once in a window
    window, pair = np.divmod(key, people * people)
    one, other = (ends.astype(np.int32) for ends in np.divmod(pair, people))
    return TemporalNetwork(people, settled.days, window, one, other, np.full(len(key), float(WINDOW_S)))


def _layer(name: str, settled: Settled) -> Layer:
    """Every pair that met there, with its mean contact of a day."""
    _, a, b, minutes = settled.minutes(name)
    people = len(settled.home)
    pair, row = np.unique(a * people + b, return_inverse=True)
    one, other = np.divmod(pair, people)
    seconds = np.bincount(row, minutes * 60 / settled.days).astype(np.float64)
    return Layer(name, one, other, seconds)
