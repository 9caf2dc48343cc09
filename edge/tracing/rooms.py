"""Which receiver hangs in which room, and what no tag can do: be in two rooms at once.

Whoever records a tag in one room and plays it in another makes it seem to be where it is not (a relay). A tag that is
heard within one window at receivers of rooms that are not next to each other is left out there and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

RECEIVERS = 256
"""A receiver's number is one byte."""


class UnknownReceiver(ValueError):
    """A receiver that the site's configuration does not name."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One ear of a site.

    Attributes:
        number: 0 is the node's own first adapter.
        room: where it hangs.
        x_m: place within the room, metres, from any corner.
        y_m: the same, across.
    """

    number: int
    room: str
    x_m: float = 0.0
    y_m: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.number < RECEIVERS:
            raise ValueError(f"receiver number {self.number} is not within 0..{RECEIVERS - 1}")


@dataclass(frozen=True, slots=True)
class Rooms:
    """The receivers of a site by room.

    Attributes:
        receivers: each number once.
        adjacent: pairs of rooms between which a tag can be heard through a wall or a door.
        home: room of the receivers that are not listed.
    """

    receivers: tuple[Receiver, ...] = ()
    adjacent: frozenset[frozenset[str]] = frozenset()
    home: str = ""
    _index: NDArray[np.int16] = field(init=False, repr=False, compare=False)
    _apart: NDArray[np.bool_] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        numbers = [receiver.number for receiver in self.receivers]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"receivers {sorted(numbers)}: each number once")
        rooms = {room for pair in self.adjacent for room in pair}
        if unknown := rooms - {*self.names}:
            raise UnknownReceiver(
                f"adjacent rooms {', '.join(sorted(unknown))} have no receiver: name them as in [[site.receivers]]"
            )
        index = {room: at for at, room in enumerate(self.names)}
        of_receiver = np.full(RECEIVERS, index[self.home], np.int16)
        for receiver in self.receivers:
            of_receiver[receiver.number] = index[receiver.room]
        apart = ~np.eye(len(index), dtype=bool)
        for a, b in (sorted(pair) for pair in self.adjacent):
            apart[index[a], index[b]] = apart[index[b], index[a]] = False
        object.__setattr__(self, "_index", of_receiver)
        object.__setattr__(self, "_apart", apart)

    @classmethod
    def of(cls, receivers: Iterable[Receiver], adjacent: Iterable[tuple[str, str]] = (), home: str = "") -> Rooms:
        """From a configuration's lists; a pair of a room with itself says nothing and is dropped."""
        return cls(tuple(receivers), frozenset(frozenset(pair) for pair in adjacent if len({*pair}) == 2), home)

    @property
    def names(self) -> tuple[str, ...]:
        """All rooms; the home is the first."""
        return tuple(dict.fromkeys((self.home, *(receiver.room for receiver in self.receivers))))

    @property
    def room_of(self) -> Mapping[int, str]:
        """Room of each listed receiver, by number."""
        return {receiver.number: receiver.room for receiver in self.receivers}

    @property
    def adjacent_pairs(self) -> frozenset[tuple[str, str]]:
        """The adjacent rooms, each pair both ways round: for those who look pairs up."""
        return frozenset(way for pair in self.adjacent for way in (tuple(sorted(pair)), tuple(sorted(pair)[::-1])))  # type: ignore[misc]

    def relayed(self, receivers: Iterable[int]) -> bool:
        """Whether one tag heard at all these receivers within one window is a relay."""
        rooms = {int(self._index[number]) for number in receivers}
        return any(self._apart[a, b] for a, b in combinations(rooms, 2))

    def rooms_at(self, receivers: NDArray[np.uint8]) -> NDArray[np.int16]:
        """Index into `names` for each receiver number [n]."""
        found: NDArray[np.int16] = self._index[receivers]
        return found

    def relays(self, groups: NDArray[np.int64], receivers: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """`relayed`, of many tags and windows at once.

        Args:
            groups: one number for each tag and window [n], in any order.
            receivers: where it was heard [n].

        Returns:
            Whether the row belongs to a relay [n].
        """
        marked = np.zeros(len(groups), bool)
        rooms = self.rooms_at(receivers)
        if len(groups) == 0 or not self._apart.any() or (rooms == rooms[0]).all():
            return marked
        numbers, at = np.unique(groups, return_inverse=True)
        heard_in = np.zeros((len(numbers), len(self.names)), bool)
        heard_in[at, rooms] = True
        bad: NDArray[np.bool_] = np.any(np.matmul(heard_in, self._apart) & heard_in, axis=1)
        marked[:] = bad[at]
        return marked
