"""Temporal contact networks: who was in contact with whom, in which window of 20 s, over and over.

The data's days are looped until an outbreak is over, as in Stehlé et al. 2011 (*Simulation of an SEIR infectious
disease model on the dynamic contact network of conference attendees*, BMC Medicine 9:87). Two networks of that paper
that keep less are made from a full one: `daily_durations` (its HET) and `equal_durations` (its HOM). `mixed_evenly`
keeps less still: it is the homogeneous mixing of models without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.sensing.contacts import Contact
from edge.store.slots import DAY_S, WINDOW_S
from simulations.world.seats import people_of

WINDOWS_A_DAY = DAY_S // WINDOW_S

CUT_SHORT = 0.1
"""A first or last day with a smaller share of the busiest day's contacts was not recorded to the end."""


@dataclass(frozen=True, slots=True)
class TemporalNetwork:
    """Contacts as columns of equal length, in time order.

    Attributes:
        people: how many there are, with and without contacts; they are numbers from 0 on.
        days: after so many days it starts again.
        window: in which a contact is, windows of 20 s since the first midnight [rows].
        a: one person [rows].
        b: the other [rows].
        seconds: of contact that a row stands for [rows], s.

    Raises:
        ValueError: columns that do not fit each other, the people or the days; a pair twice in one window.
    """

    people: int
    days: int
    window: NDArray[np.int64]
    a: NDArray[np.int32]
    b: NDArray[np.int32]
    seconds: NDArray[np.float64]

    def __post_init__(self) -> None:
        rows = {name: len(getattr(self, name)) for name in ("window", "a", "b", "seconds")}
        if len(set(rows.values())) != 1:
            raise ValueError(f"columns of a network have one length, got {rows}")
        if self.people < 1 or self.days < 1:
            raise ValueError(f"a network needs a person and a day, got {self.people} and {self.days}")
        if not len(self.window):
            return
        ends = np.stack([self.a, self.b])
        if ends.min() < 0 or ends.max() >= self.people:
            raise ValueError(f"people are 0 to {self.people - 1}, a contact has {ends.min()} to {ends.max()}")
        if (self.a == self.b).any():
            raise ValueError(f"person {self.a[self.a == self.b][0]} is in contact with themselves: leave that row out")
        if (np.diff(self.window) < 0).any():
            raise ValueError("contacts are not in time order: sort the columns by window")
        if self.window[0] < 0 or self.window[-1] >= self.days * WINDOWS_A_DAY:
            last = self.days * WINDOWS_A_DAY - 1
            raise ValueError(f"windows are 0 to {last} in {self.days} days, got {self.window[0]} to {self.window[-1]}")
        if not (np.isfinite(self.seconds) & (self.seconds > 0)).all():
            raise ValueError("every contact lasts some seconds: one is not above 0")
        # A pair draws one number a window, so the second of two rows would infect nobody whom the first did not.
        key = (self.window * self.people + ends.min(axis=0)) * self.people + ends.max(axis=0)
        if (twice := np.diff(np.sort(key)) == 0).any():
            window = np.sort(key)[:-1][twice][0] // self.people**2
            raise ValueError(f"a pair is twice in window {window}: add its seconds up")

    @classmethod
    def of(cls, contacts: Sequence[Contact]) -> TemporalNetwork:
        """The contacts of a data set; people are numbered in the order of their names (`people_of`).

        Raises:
            ValueError: there are no contacts.
        """
        if not contacts:
            raise ValueError("no contacts: an outbreak needs some")
        names, _ = people_of(contacts)
        number = {name: at for at, name in enumerate(names)}
        window = np.array([contact.t // WINDOW_S for contact in contacts], np.int64)
        a, b = (np.array([number[getattr(one, side)] for one in contacts], np.int32) for side in ("a", "b"))
        days = recorded_days(contacts)
        kept = (window >= days.start * WINDOWS_A_DAY) & (window < days.stop * WINDOWS_A_DAY)
        rows = np.stack([window, np.minimum(a, b), np.maximum(a, b)])[:, kept]
        window, a, b = np.unique(rows, axis=1)
        return cls(
            len(names),
            len(days),
            window - days.start * WINDOWS_A_DAY,
            a.astype(np.int32),
            b.astype(np.int32),
            np.full(len(window), float(WINDOW_S)),
        )

    @classmethod
    def static(
        cls, people: int, a: ArrayLike, b: ArrayLike, seconds: ArrayLike, times_a_day: int = 24
    ) -> TemporalNetwork:
        """The same pairs every day.

        Args:
            a: one person of each pair [pairs].
            b: the other [pairs].
            seconds: of contact a day [pairs], spread evenly over the day in `times_a_day` parts; those of a pair that
                is there twice add up.

        Raises:
            ValueError: as for the network itself.
        """
        a, b = np.asarray(a, np.int32), np.asarray(b, np.int32)
        seconds = np.broadcast_to(np.asarray(seconds, np.float64), a.shape)
        pairs = _added_up(np.zeros(len(a), np.int64), a, b, seconds, people)
        return cls(people, 1, *_spread(pairs, times_a_day))

    @property
    def day_edges(self) -> NDArray[np.int64]:
        """Row at which each day starts, and the number of rows [days + 1]."""
        return np.searchsorted(self.window, np.arange(self.days + 1) * WINDOWS_A_DAY)

    def minutes(self) -> NDArray[np.float32]:
        """Of contact, by day and pair, both ways round [days, people, people]."""
        found = np.zeros((self.days, self.people, self.people), np.float32)
        day = self.window // WINDOWS_A_DAY
        for one, other in ((self.a, self.b), (self.b, self.a)):
            np.add.at(found, (day, one, other), (self.seconds / 60).astype(np.float32))
        return found


def recorded_days(contacts: Sequence[Contact]) -> range:
    """Days (`seconds // 86400`) from the first to the last, without a first or last that was cut short.

    The LH10 ward's fifth day is one hour long; looped, it would be a day without infections.
    """
    day = np.array([contact.t // DAY_S for contact in contacts], np.int64)
    counts = np.bincount(day - day.min())
    whole = np.flatnonzero(counts >= CUT_SHORT * counts.max())
    return range(int(day.min() + whole[0]), int(day.min() + whole[-1]) + 1)


def daily_durations(network: TemporalNetwork, times_a_day: int = 24) -> TemporalNetwork:
    """Each pair's contact of a day, spread evenly over that day: when and how often they met is gone (HET)."""
    return TemporalNetwork(network.people, network.days, *_spread(_pair_days(network), times_a_day))


def equal_durations(network: TemporalNetwork, times_a_day: int = 24) -> TemporalNetwork:
    """The pairs of each day, all with that day's mean duration: for how long they met is gone too (HOM)."""
    day, a, b, seconds = _pair_days(network)
    pairs = np.bincount(day, minlength=network.days)
    mean = np.bincount(day, seconds, minlength=network.days) / np.maximum(pairs, 1)
    return TemporalNetwork(network.people, network.days, *_spread((day, a, b, mean[day]), times_a_day))


def mixed_evenly(network: TemporalNetwork, times_a_day: int = 6) -> TemporalNetwork:
    """Each day's time in contact, shared out evenly among all pairs of people: who met whom is gone too."""
    a, b = (ends.astype(np.int32) for ends in np.triu_indices(network.people, 1))
    total = np.bincount(network.window // WINDOWS_A_DAY, network.seconds, minlength=network.days)
    day = np.repeat(np.flatnonzero(total), len(a))
    met = np.count_nonzero(total)
    columns = (day, np.tile(a, met), np.tile(b, met), total[day] / max(len(a), 1))
    return TemporalNetwork(network.people, network.days, *_spread(columns, times_a_day))


Columns = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]


def _pair_days(network: TemporalNetwork) -> Columns:
    """Day, two people and their seconds, a row for each pair and day that met."""
    return _added_up(network.window // WINDOWS_A_DAY, network.a, network.b, network.seconds, network.people)


def _added_up(
    day: NDArray[np.int64], a: NDArray[np.int32], b: NDArray[np.int32], seconds: NDArray[np.float64], people: int
) -> Columns:
    """A row for each pair and day, in their order."""
    key = (day * people + np.minimum(a, b)) * people + np.maximum(a, b)
    pairs, row = np.unique(key, return_inverse=True)
    total = np.bincount(row, seconds, minlength=len(pairs))
    one, other = (ends.astype(np.int32) for ends in np.divmod(pairs % people**2, people))
    return (pairs // people**2).astype(np.int64), one, other, total.astype(np.float64)


def _spread(pair_days: Columns, times_a_day: int) -> Columns:
    """Rows of pairs and days, each in `times_a_day` equal parts in the middle of equal stretches of its day."""
    if not 1 <= times_a_day <= WINDOWS_A_DAY:
        raise ValueError(f"times_a_day is {times_a_day}: it is 1 to {WINDOWS_A_DAY}")
    day, a, b, seconds = pair_days
    middle = ((np.arange(times_a_day) + 0.5) * WINDOWS_A_DAY / times_a_day).astype(np.int64)
    window = (day * WINDOWS_A_DAY + middle[:, None]).reshape(-1)
    order = np.argsort(window, kind="stable")
    one, other = (np.tile(column, times_a_day)[order] for column in (a, b))
    return window[order], one, other, np.tile(seconds / times_a_day, times_a_day)[order]
