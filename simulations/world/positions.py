"""Where everybody of a building is, window by window, and what a node on a wall hears of it.

People sit on a seat of the room where they are, the same all day. Those in contact stand half a metre to a metre and a
half apart: the first stays, the others come. In the yard or the canteen people stroll from point to point (random
waypoints: Johnson and Maltz 1996), and nobody walks faster than `WALK_M_S`: who has far to go leaves early. Floor plan,
seats and the loss of a wall are assumptions; only contacts are fitted to measured ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edge.store.slots import WINDOW_S
from simulations.world.building import Building
from simulations.world.episodes import Episodes, Ints
from simulations.world.radio import RadioModel
from simulations.world.seats import FACING_M, ROOM_M
from simulations.world.timetables import ABSENT, PERIOD_WINDOWS

CORRIDOR_M = 2.0
COMMON_M = (20.0, 12.0)
ROOMS_A_ROW = 5
WALK_M_S = 1.3
STROLL_WINDOWS = 3
"""Somebody in the common room makes for another point every minute."""

WALL_DB = 8.0
"""What a room's walls take of a signal from another room, dB; assumed."""

Metres = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """Rooms in rows of five along corridors, the common room beyond the last row.

    Attributes:
        zones: how many rooms there are besides the common room.
    """

    zones: int

    def corner(self, room: Ints) -> NDArray[np.float64]:
        """Lower left corner of each room [n, 2], metres; `zones` is the common room."""
        row, column = np.divmod(room, ROOMS_A_ROW)
        rows = -(-self.zones // ROOMS_A_ROW)
        common = room == self.zones
        x = np.where(common, 0.0, column * ROOM_M[0])
        y = np.where(common, rows, row) * (ROOM_M[1] + CORRIDOR_M)
        return np.stack([x, y], axis=-1)

    def size(self, room: Ints) -> NDArray[np.float64]:
        """Width and depth of each room [n, 2], metres."""
        return np.where((room == self.zones)[..., None], COMMON_M, ROOM_M)

    def node(self, room: int) -> NDArray[np.float64]:
        """Where a room's node hangs [2]: in the middle of a long wall."""
        [corner] = self.corner(np.array([room]))
        [size] = self.size(np.array([room]))
        found: NDArray[np.float64] = corner + size * (0.5, 0.0)
        return found


def walk(building: Building, episodes: Episodes, first: int, windows: int, rng: np.random.Generator) -> Metres:
    """Where everybody is in windows first .. first + windows - 1 [windows, people, 2], metres; NaN where absent.

    Raises:
        ValueError: the windows are not all within the building's days.
    """
    last = building.room.shape[1] * PERIOD_WINDOWS
    if not (first >= 0 and windows >= 1 and first + windows <= last):
        raise ValueError(f"windows {first} to {first + windows - 1} are not within 0 to {last - 1} of the building")
    plan, people = FloorPlan(building.zones), len(building.zone)
    room = building.room[:, (first + np.arange(windows)) // PERIOD_WINDOWS].T.astype(np.int64)
    corner, size = plan.corner(room), plan.size(room)
    seat = rng.random((people, 2))
    strolls = rng.random((windows // STROLL_WINDOWS + 1, people, 2))
    within = np.where((room == building.zones)[..., None], np.repeat(strolls, STROLL_WINDOWS, axis=0)[:windows], seat)
    at = (corner + within * size).astype(np.float32)
    _gather(at, corner, size, episodes, first, rng)
    at[room == ABSENT] = np.nan
    step = WALK_M_S * WINDOW_S
    for window in range(windows - 2, -1, -1):
        way = at[window] - at[window + 1]
        far = np.linalg.norm(way, axis=1, keepdims=True)
        at[window] = np.where(far > step, at[window + 1] + way * (step / np.maximum(far, step)), at[window])
    return at


def heard(
    at: Metres, room: NDArray[np.int16], node: int, plan: FloorPlan, radio: RadioModel, rng: np.random.Generator
) -> NDArray[np.float64]:
    """What the node in one room hears of everybody [windows, people], dBm; NaN where nothing.

    Args:
        at: from `walk`.
        room: of everybody in the same windows [windows, people].
        node: the room that it hangs in.
    """
    there = ~np.isnan(at[..., 0])
    apart = np.linalg.norm(at[there] - plan.node(node), axis=1)
    worn = np.broadcast_to(rng.normal(0, np.hypot(radio.wearer_db, radio.link_db), at.shape[1]), there.shape)[there]
    found = np.full(there.shape, np.nan)
    found[there] = radio.levels(apart, worn - WALL_DB * (room[there] != node), rng)
    return found


def _gather(
    at: Metres,
    corner: NDArray[np.float64],
    size: NDArray[np.float64],
    episodes: Episodes,
    first: int,
    rng: np.random.Generator,
) -> None:
    """Put all who are in contact in one window, directly or by others, on a circle around where the first is."""
    windows, people = at.shape[:2]
    reach = rng.uniform(FACING_M[0] / 2, FACING_M[1] / 2, (people, 1))
    turn = rng.uniform(0.0, 2 * np.pi, (people,))
    window, a, b = episodes.windows()
    inside = (window >= first) & (window < first + windows)
    base = (window[inside] - first) * people
    one, other = base + a[inside], base + b[inside]
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(windows * people,) * 2)
    group = connected_components(graph, directed=False)[1]
    those = np.unique(np.concatenate([one, other]))
    _, start, of_group, count = np.unique(group[those], return_index=True, return_inverse=True, return_counts=True)
    # `those` is sorted, so a group's first is its person of lowest number; its others are numbered around the circle.
    leader = those[start][of_group]
    order = np.argsort(of_group, kind="stable")
    place = np.empty(len(those), np.int64)
    place[order] = np.arange(len(those)) - np.repeat(np.cumsum(count) - count, count)
    angle = turn[leader % people] + 2 * np.pi * place / count[of_group]
    off = reach[leader % people] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    flat, low, room = at.reshape(-1, 2), corner.reshape(-1, 2)[leader], size.reshape(-1, 2)[leader]
    margin = FACING_M[1] / 2
    flat[those] = np.clip(flat[leader], low + margin, low + room - margin) + off
