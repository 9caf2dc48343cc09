"""A population in layers of lasting contacts: households, schools, clinics; as arrays, and a small random one.

A town runs through starsim (`simulations.epidemics.starsims`), or through our own engine as a network of the same
pairs every day (`Town.network`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.store.slots import DAY_S
from simulations.epidemics.network import TemporalNetwork

HOUSEHOLD_SIZES = (1, 7)
CLASS_SIZE = 30
PUPILS_SHARE = 0.25
CLASSMATES = 6
VISITORS_SHARE, CLINIC_PEOPLE = 0.05, 1000
HOME_S, SCHOOL_S, CLINIC_S = 3 * 3600.0, 900.0, 120.0
"""Seconds of contact a day. All of this is made up, so that a town has households, classes and clinics at all."""


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

    def network(self, times_a_day: int = 24) -> TemporalNetwork:
        """The same contacts for our own engine, spread evenly over the day."""
        a, b, seconds = (
            np.concatenate([getattr(layer, column) for layer in self.layers]) for column in ("a", "b", "seconds")
        )
        return TemporalNetwork.static(self.people, a, b, seconds, times_a_day)


def random_town(seed: int, people: int) -> Town:
    """Households of whom a quarter go to school, in classes; and a clinic for each thousand, with its visitors."""
    random = np.random.default_rng(seed)
    sizes = random.integers(*HOUSEHOLD_SIZES, people)
    household = np.repeat(np.arange(people), sizes)[:people]
    homes = [_all_pairs(np.flatnonzero(household == home)) for home in range(int(household[-1]) + 1)]
    pupils = random.permutation(people)[: int(people * PUPILS_SHARE)]
    classes = [
        _some_pairs(one, CLASSMATES, random) for one in np.split(pupils, range(CLASS_SIZE, len(pupils), CLASS_SIZE))
    ]
    clinics = []
    for start in range(0, people, CLINIC_PEOPLE):
        near = np.arange(start, min(start + CLINIC_PEOPLE, people))
        visitors = random.choice(near, int(np.ceil(len(near) * VISITORS_SHARE)), replace=False)
        clinics.append(_some_pairs(visitors, 3, random))
    layers = (("household", homes, HOME_S), ("school", classes, SCHOOL_S), ("clinic", clinics, CLINIC_S))
    return Town(people, tuple(_layer(name, np.concatenate(pairs), seconds) for name, pairs, seconds in layers))


def _layer(name: str, pairs: NDArray[np.int64], seconds: float) -> Layer:
    return Layer(name, pairs[:, 0], pairs[:, 1], np.full(len(pairs), seconds))


def _all_pairs(people: NDArray[np.int64]) -> NDArray[np.int64]:
    i, j = np.triu_indices(len(people), 1)
    return np.stack([people[i], people[j]], axis=1)


def _some_pairs(people: NDArray[np.int64], each: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Pairs drawn so that everybody has about `each`, none twice."""
    pairs = _all_pairs(people)
    kept = min(len(pairs), len(people) * each // 2)
    return pairs[np.sort(random.choice(len(pairs), kept, replace=False))] if kept else pairs[:0]
