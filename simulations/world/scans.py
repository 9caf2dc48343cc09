"""Scans of phones on people, as DP-3T's exp34 has them: how loud, how far, and which of them heard nothing.

One scan of a phone (about four seconds, every four minutes) is taken for one window of 20 s: whether a transmitter was
heard at all, and how loud on average. A node listens all the time and will miss less than a phone did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.datasets.exp34 import Scene

SCAN_GAP_S = 20.0
"""Frames of one receiver further apart than this belong to two scans, seconds."""


@dataclass(frozen=True, slots=True)
class LinkScan:
    """One scan of one receiver, of one transmitter that it hears in the same scenario.

    Attributes:
        link: scenario, receiver and transmitter.
        distance_m: true distance; where the scan heard nothing, that of the link's scans before and after.
        rssi_dbm: mean of the frames, None where there were none.
    """

    link: tuple[str, int, int]
    distance_m: float
    rssi_dbm: float | None


def link_scans(scenes: Iterable[Scene]) -> list[LinkScan]:
    """All scans of all links of exp34."""
    found: list[LinkScan] = []
    for scene in scenes:
        for receiver in np.unique(scene.receivers).tolist():
            mine = scene.receivers == receiver
            at_s, heard, level = scene.at_s[mine], scene.transmitters[mine], scene.rssi_dbm[mine]
            distance = scene.distance_m[mine]
            scan = np.cumsum(np.diff(at_s, prepend=-np.inf) > SCAN_GAP_S) - 1
            for transmitter in np.unique(heard).tolist():
                its = heard == transmitter
                frames = [(level[its & (scan == n)], distance[its & (scan == n)]) for n in range(scan[-1] + 1)]
                found += _of_link((scene.name, receiver, transmitter), frames)
    return found


def _of_link(
    link: tuple[str, int, int], scans: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]
) -> Iterator[LinkScan]:
    known = [float(np.nanmean(distance)) if np.isfinite(distance).any() else None for _, distance in scans]
    for at, ((level, _), distance) in enumerate(zip(scans, known, strict=True)):
        beside = [one for one in known[max(at - 1, 0) : at + 2] if one is not None]
        if len(level) and distance is not None:
            yield LinkScan(link, distance, float(level.mean()))
        elif not len(level) and beside:
            yield LinkScan(link, float(np.mean(beside)), None)


def best_cut_dbm(scans: Iterable[LinkScan], near_m: float) -> float:
    """The level that best tells scans within `near_m` from others (largest sum of both hit rates), dBm."""
    heard = [(scan.rssi_dbm, scan.distance_m <= near_m) for scan in scans if scan.rssi_dbm is not None]
    level, near = np.array([rssi for rssi, _ in heard]), np.array([truth for _, truth in heard])
    cuts = np.unique(np.rint(level))
    gains = [(level[near] >= cut).mean() + (level[~near] < cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(gains))])
