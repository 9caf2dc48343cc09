"""How the radio's numbers are found: a censored likelihood on exp34's scans, and a straight line on NIST's two Pis.

A scan that heard nothing says that the level was below the sensitivity, or that the radio was busy. Leaving it out
would make the radio louder the further away it is. So the likelihood of a link is that of all its scans, heard or not,
integrated over what stays with the link (Gauss-Hermite quadrature).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr, logsumexp, ndtr

from simulations.datasets.nist import Stretch
from simulations.world.radio import NEAREST_M, WORN, RadioModel
from simulations.world.scans import LinkScan

NODES = 11
LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)
Floats = NDArray[np.float64]


def fit_worn(scans: Iterable[LinkScan], start: RadioModel = WORN) -> RadioModel:
    """Greatest likelihood of all scans, heard or not. Takes about half a minute from a distant start."""
    scans = list(scans)
    links = list(dict.fromkeys(scan.link for scan in scans))
    number = {link: at for at, link in enumerate(links)}
    of_link = np.array([number[scan.link] for scan in scans])
    distance = np.maximum([scan.distance_m for scan in scans], NEAREST_M)
    level = np.array([np.nan if scan.rssi_dbm is None else scan.rssi_dbm for scan in scans])
    total = float(np.hypot(start.link_db, np.sqrt(2) * start.wearer_db))
    at = _free(start, total)

    def loss(values: Floats) -> float:
        return -_likelihood(values, distance, level, of_link) / len(scans)

    best = minimize(loss, at, method="L-BFGS-B", options={"maxiter": 100}).x
    radio = _fixed(best)
    share = _wearer_share(links, of_link, distance, level)
    wearer = float(np.sqrt(share)) * radio.link_db
    return _fixed(best, wearer_db=wearer, link_db=radio.link_db * float(np.sqrt(1 - 2 * share)))


def fit_wall(stretches: Sequence[Stretch]) -> tuple[float, float, float, float]:
    """Line of sight, by least squares: dBm at 1 m, exponent, and what is left, dB: between places, and of frames."""
    x = np.array([-10 * np.log10(one.distance_m) for one in stretches])
    y = np.array([one.rssi_dbm.mean() for one in stretches])
    exponent, power = np.polyfit(x, y, 1)
    between = float(np.std(y - power - exponent * x, ddof=2))
    within = float(np.sqrt(np.mean([one.rssi_dbm.var() for one in stretches])))
    return float(power), float(exponent), between, within


def _free(radio: RadioModel, link_db: float) -> Floats:
    return np.array([
        radio.power_dbm, radio.exponent, np.log(radio.body_db), np.log(radio.clear_m), np.log(link_db),
        np.log(radio.window_db), radio.sensitivity_dbm, np.log(radio.blur_db),
        np.log(radio.missed / (1 - radio.missed)),
    ])  # fmt: skip


def _fixed(at: Floats, wearer_db: float = 0.0, link_db: float | None = None) -> RadioModel:
    power, exponent, body, clear, link, window, sensitivity, blur, missed = at
    return RadioModel(
        power_dbm=float(power),
        exponent=float(exponent),
        body_db=float(np.exp(body)),
        clear_m=float(np.exp(clear)),
        wearer_db=wearer_db,
        link_db=float(np.exp(link)) if link_db is None else link_db,
        window_db=float(np.exp(window)),
        sensitivity_dbm=float(sensitivity),
        blur_db=float(np.exp(blur)),
        missed=float(1 / (1 + np.exp(-missed))),
    )


def _likelihood(at: Floats, distance: Floats, level: Floats, of_link: NDArray[np.int64]) -> float:
    radio = _fixed(at)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    mean = radio.mean_dbm(distance)[:, None] + radio.link_db * nodes
    there = np.isfinite(level)
    clear = radio.clear(distance)[:, None]
    scan = np.logaddexp(
        np.log(clear) + _of_scan(radio, mean, level, there),
        np.log1p(-clear) + _of_scan(radio, mean - radio.body_db, level, there),
    )
    link = np.stack([np.bincount(of_link, column) for column in scan.T], axis=1)
    return float(logsumexp(link + np.log(weights / weights.sum()), axis=1).sum())


def _of_scan(radio: RadioModel, mean: Floats, level: Floats, there: NDArray[np.bool_]) -> Floats:
    """Log-likelihood of each scan, given its mean level [scans, nodes]."""
    found = np.empty_like(mean)
    heard, sure = level[there][:, None], np.log1p(-radio.missed)
    density = -0.5 * ((heard - mean[there]) / radio.window_db) ** 2 - np.log(radio.window_db) - LOG_ROOT_2PI
    found[there] = sure + density + log_ndtr((heard - radio.sensitivity_dbm) / radio.blur_db)
    above = (mean[~there] - radio.sensitivity_dbm) / np.hypot(radio.window_db, radio.blur_db)
    found[~there] = np.log1p(-(1 - radio.missed) * ndtr(above))
    return found


def _wearer_share(
    links: Sequence[tuple[str, int, int]],
    of_link: NDArray[np.int64],
    distance: Floats,
    level: Floats,
) -> float:
    """Share of a link's variance that one of its two wearers brings, 0 to 1/2.

    By moments: how much two links of one scene that share a wearer have in common, beside how much two scans of one
    link have. Both are shortened alike by what was too faint to be heard.
    """
    there = np.isfinite(level)
    middles = np.quantile(distance[there], np.linspace(0, 1, 9)[1:-1])
    band = np.searchsorted(middles, distance)
    means = np.array([level[there & (band == one)].mean() for one in range(8)])
    rest = level - means[band]
    count = np.bincount(of_link[there], minlength=len(links))
    total = np.bincount(of_link[there], rest[there], minlength=len(links))
    squares = np.bincount(of_link[there], rest[there] ** 2, minlength=len(links))
    same = (total**2 - squares).sum() / (count * (count - 1)).sum()
    shared = weight = 0.0
    for one, other in combinations(range(len(links)), 2):
        common = {*links[one][1:]} & {*links[other][1:]}
        if links[one][0] == links[other][0] and len(common) == 1:
            shared += total[one] * total[other]
            weight += count[one] * count[other]
    if not weight:
        return 0.0  # nobody is in two links: what a wearer brings cannot be told from the rest
    return float(np.clip(shared / weight / same, 0.0, 0.5))
