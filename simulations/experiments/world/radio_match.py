"""How near levels that the radio model draws are to measured ones, by distance, on scenes that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from simulations.datasets.exp34 import Scene
from simulations.datasets.nist import Stretch
from simulations.experiments.world.radio_fit import fit_wall, fit_worn
from simulations.experiments.world.two_samples import Sample, distance, p_value
from simulations.world.radio import RadioModel
from simulations.world.scans import LinkScan, link_scans

FITTED = ("lunch", "office", "party")
"""Scenes that the model is fitted to here; the others are compared with. `WORN` is fitted to all six."""

BANDS_M = (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 10.0)
LEAST = 20
"""Fewer values than this of one scene and band are no distribution."""

DRAWS = 20
FRAMES = 20_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BandRow:
    """Levels in one band of distance.

    Attributes:
        samples: measured scans, heard or not; of line of sight, frames.
        ours: Kolmogorov-Smirnov distance of measured levels to the model's.
        others: mean of that between measured scenes; of line of sight, between one Pi's stretches
            at different distances, path loss taken off.
        units: links, of two phones that hear each other either way, that the test sees a side.
        p: that measured levels and the model's are of one distribution; NaN where there is a single link.
        heard, ours_heard: share of scans that heard it.
        mean_dbm, ours_mean_dbm: mean level of those.
        low_dbm, high_dbm, ours_low_dbm, ours_high_dbm: their 10 and 90 % quantiles.
    """

    data: str
    distance: str
    samples: int
    ours: float
    others: float
    units: int
    p: float
    heard: float
    ours_heard: float
    mean_dbm: float
    ours_mean_dbm: float
    low_dbm: float
    high_dbm: float
    ours_low_dbm: float
    ours_high_dbm: float


def worn_rows(scenes: Sequence[Scene], seed: int) -> list[BandRow]:
    """Phones on people: fitted to half of the scenes, compared with the other half. Takes about half a minute."""
    scans = link_scans(scenes)
    radio = fit_worn(scan for scan in scans if scan.link[0] in FITTED)
    rng = np.random.default_rng(seed)
    rows = []
    for low, high in pairwise(BANDS_M):
        here = [scan for scan in scans if low <= scan.distance_m < high]
        held = [scan for scan in here if scan.link[0] not in FITTED]
        by_scene = [_levels([s for s in here if s.link[0] == scene.name]) for scene in scenes]
        alike = [distance(one, two) for one, two in combinations(by_scene, 2) if min(len(one), len(two)) >= LEAST]
        drawn = _drawn(radio, np.repeat([scan.distance_m for scan in held], DRAWS), rng)
        level = _levels(held)
        rows.append(_row("exp34", f"{low:g}-{high:g} m", len(held), level, drawn, alike, len(level) / len(held), rng))
    return rows


def line_of_sight_rows(stretches: Sequence[Stretch], seed: int) -> list[BandRow]:
    """Two Pis: fitted to what A heard, compared with what B heard, frame by frame; then the stretches' means.

    A stretch is one link in one place: only the last row, in which each gives its mean, has independent units.
    """
    power, exponent, between, frame = fit_wall([one for one in stretches if one.device == "A"])
    radio = RadioModel(power, exponent, 0.0, 1.0, 0.0, between, frame, -127.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    held = [one for one in stretches if one.device == "B"]
    levelled = [
        _one_link(one.rssi_dbm.astype(np.float64) - _expected(radio, one)) for one in stretches if one.device == "A"
    ]
    alike = [distance(one, two) for one, two in combinations(levelled, 2)]
    rows = []
    for one in held:
        drawn = _drawn(radio, np.full(FRAMES, one.distance_m), rng)
        level = _one_link(one.rssi_dbm.astype(float))
        rows.append(_row("nist-pi", f"{one.distance_m:g} m", len(one), level, drawn, alike, 1.0, rng))
    means = _each(np.array([one.rssi_dbm.mean() - _expected(radio, one) for one in held]) + radio.power_dbm)
    drawn = rng.normal(radio.power_dbm, between, FRAMES)
    rows.append(_row("nist-pi", "means, at 1 m", len(held), means, drawn, (), 1.0, rng))
    return rows


def _expected(radio: RadioModel, one: Stretch) -> float:
    return float(radio.mean_dbm(np.array(one.distance_m)))


def _drawn(radio: RadioModel, apart: Floats, rng: np.random.Generator) -> Floats:
    """A window each, of a link each."""
    link = rng.normal(0, np.hypot(np.sqrt(2) * radio.wearer_db, radio.link_db), len(apart))
    return radio.levels(apart, link, rng)


def _levels(scans: Sequence[LinkScan]) -> Sample:
    """What was heard; two phones are one unit, whichever of them heard the other."""
    heard = [(scan.rssi_dbm, (scan.link[0], *sorted(scan.link[1:]))) for scan in scans if scan.rssi_dbm is not None]
    number = {link: at for at, link in enumerate(dict.fromkeys(link for _, link in heard))}
    return Sample(np.array([level for level, _ in heard], float), np.array([number[at] for _, at in heard], np.int64))


def _each(values: Floats) -> Sample:
    return Sample(values, np.arange(len(values)))


def _one_link(values: Floats) -> Sample:
    return Sample(values, np.zeros(len(values), np.int64))


def _row(
    data: str,
    where: str,
    samples: int,
    level: Sample,
    drawn: Floats,
    alike: Sequence[float],
    heard: float,
    rng: np.random.Generator,
) -> BandRow:
    there = _each(drawn[np.isfinite(drawn)])
    p, units = p_value(level, there, rng)
    low, high = np.quantile(level.values, (0.1, 0.9))
    ours_low, ours_high = np.quantile(there.values, (0.1, 0.9))
    return BandRow(
        data=data,
        distance=where,
        samples=samples,
        ours=distance(level, there),
        others=float(np.mean(alike)) if len(alike) else float("nan"),
        units=units,
        p=p,
        heard=heard,
        ours_heard=len(there) / len(drawn),
        mean_dbm=float(level.values.mean()),
        ours_mean_dbm=float(there.values.mean()),
        low_dbm=float(low),
        high_dbm=float(high),
        ours_low_dbm=float(ours_low),
        ours_high_dbm=float(ours_high),
    )
