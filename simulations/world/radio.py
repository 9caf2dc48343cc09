"""What a worn radio makes of distance, fitted to phones on real people (DP-3T's exp34, cameras as ground truth).

One scan of a phone (about four seconds, every four minutes) is taken for one window of 20 s: whether a transmitter was
heard at all, and how loud on average. Three things are fitted: the share of scans that hear it, by distance; the mean
level, by distance; and what is left, split in what stays with a link (devices, and how they are carried) and what
changes from scan to scan. A node listens all the time and will miss less than a phone did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.datasets.exp34 import Scene

SCAN_GAP_S = 20.0
"""Frames of one receiver further apart than this belong to two scans, seconds."""

BANDS_M = (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Lower ends of the bands of distance, metres; further out there are too few scans to tell more."""


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


@dataclass(frozen=True, slots=True)
class RadioModel:
    """Whether a window hears a tag, and how loud, by distance. Between the bands it is interpolated.

    Attributes:
        middles_m: middle of each band, metres.
        heard: share of windows that hear a tag there.
        mean_dbm: mean level of those.
        link_db: standard deviation of what stays with a link.
        window_db: of what changes from window to window.
    """

    middles_m: tuple[float, ...]
    heard: tuple[float, ...]
    mean_dbm: tuple[float, ...]
    link_db: float
    window_db: float

    @classmethod
    def fit(cls, scans: Iterable[LinkScan]) -> RadioModel:
        """By moments; see the module's text."""
        scans = list(scans)
        distance = np.array([scan.distance_m for scan in scans])
        level = np.array([np.nan if scan.rssi_dbm is None else scan.rssi_dbm for scan in scans])
        band = np.searchsorted(BANDS_M, distance, side="right") - 1
        there = np.isfinite(level)
        bands = range(len(BANDS_M))
        means = np.array([level[(band == b) & there].mean() for b in bands])
        rest = level - means[band]
        links: dict[tuple[str, int, int], list[float]] = defaultdict(list)
        for scan, value in zip(scans, rest, strict=True):
            if np.isfinite(value):
                links[scan.link].append(float(value))
        several = [np.array(values) for values in links.values() if len(values) > 1]
        within = sum(((v - v.mean()) ** 2).sum() for v in several) / sum(len(v) - 1 for v in several)
        return cls(
            middles_m=tuple(float(np.median(distance[band == b])) for b in bands),
            heard=tuple(float(there[band == b].mean()) for b in bands),
            mean_dbm=tuple(float(mean) for mean in means),
            link_db=float(np.sqrt(max(np.nanvar(rest) - within, 0.0))),
            window_db=float(np.sqrt(within)),
        )

    def levels(
        self, distance_m: NDArray[np.float64], link_db: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """One window each [n], dBm rounded as a radio does; NaN where it was not heard.

        Args:
            distance_m: [n].
            link_db: what stays with each window's link [n]; draw it from `link_db` once a link.
        """
        mean = np.interp(distance_m, self.middles_m, self.mean_dbm)
        level = np.rint(mean + link_db + rng.normal(0, self.window_db, distance_m.shape))
        missed = rng.random(distance_m.shape) >= np.interp(distance_m, self.middles_m, self.heard)
        found: NDArray[np.float64] = np.where(missed, np.nan, np.clip(level, -127, 20))
        return found

    def best_cut_dbm(self, scans: Iterable[LinkScan], near_m: float) -> float:
        """The level that best tells scans within `near_m` from others (largest sum of both hit rates), dBm."""
        heard = [(scan.rssi_dbm, scan.distance_m <= near_m) for scan in scans if scan.rssi_dbm is not None]
        level, near = np.array([rssi for rssi, _ in heard]), np.array([truth for _, truth in heard])
        cuts = np.unique(np.rint(level))
        gains = [(level[near] >= cut).mean() + (level[~near] < cut).mean() for cut in cuts]
        return float(cuts[int(np.argmax(gains))])
