"""One day of an outbreak, compiled: rows of contacts in, states of people changed in place.

Chance is a function of seed, run, person, and moment (SplitMix64, Steele et al. 2014, over a chain of these), not of
how many numbers were drawn before. So two outbreaks of one seed differ only from where something was done about one of
them, and what was averted is a difference of pairs.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEVER = np.int64(1) << np.int64(40)
"""A window that no outbreak reaches."""

EXPOSED_AT, INFECTIOUS_AT, RECOVERED_AT = 0, 1, 2
"""Rows of an outbreak's times."""

LATENT, INFECTIOUS, CONTACT = 1, 2, 3
"""What a number is drawn for."""

SUSCEPTIBLE, SPREADER, OUT_OF_IT = 0, 1, 3
"""Parts that people can have on one day; of a pair that matters, the parts add up to 1 and no other pair's do."""

Pace = tuple[float, float, int]
Contacts = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]


@njit(cache=True, nogil=True)
def mixed(value: np.uint64) -> np.uint64:
    """SplitMix64: neighbouring numbers become unrelated ones."""
    z = value + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def uniform(key: np.uint64, kind: int, who: int, when: int) -> float:
    """Above 0, up to 1."""
    drawn = mixed(mixed(mixed(key ^ np.uint64(kind)) ^ np.uint64(who)) ^ np.uint64(when))
    return (np.float64(drawn >> np.uint64(11)) + 1.0) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def duration(key: np.uint64, kind: int, who: int, mean: float, stages: int) -> int:
    """Windows that somebody spends latent or infectious: Erlang with this mean, windows."""
    total = 0.0
    for stage in range(stages):
        total -= math.log(uniform(key, kind, who, stage))
    return round(total * mean / stages)


@njit(cache=True, nogil=True)
def infect(
    key: np.uint64,
    who: int,
    source: int,
    at: int,
    pace: Pace,
    times: NDArray[np.int64],
    infector: NDArray[np.int32],
) -> None:
    """Infect one person in one window; nobody infects in the window in which they were infected."""
    latent, infectious, stages = pace
    times[EXPOSED_AT, who] = at
    times[INFECTIOUS_AT, who] = at + 1 + duration(key, LATENT, who, latent, stages)
    times[RECOVERED_AT, who] = times[INFECTIOUS_AT, who] + max(1, duration(key, INFECTIOUS, who, infectious, stages))
    infector[who] = source


@njit(cache=True, nogil=True)
def _part(who: int, first: int, last: int, times: NDArray[np.int64]) -> int:
    """Whether somebody can be infected, or can infect, in some of these windows."""
    if times[EXPOSED_AT, who] == NEVER:
        return SUSCEPTIBLE
    return SPREADER if times[INFECTIOUS_AT, who] <= last and times[RECOVERED_AT, who] > first else OUT_OF_IT


@njit(cache=True, nogil=True)
def spread(
    key: np.uint64,
    shift: int,
    contacts: Contacts,
    away: NDArray[np.bool_],
    pace: Pace,
    times: NDArray[np.int64],
    infector: NDArray[np.int32],
) -> None:
    """Go through one day's contacts in order.

    Args:
        key: of the seed and the run.
        shift: what to add to the data's windows to get those of the outbreak.
        contacts: window, one person, the other, and the probability of infection, each [rows].
        away: who is in contact with nobody on this day [people].
        pace: mean latent and infectious time, windows, and in how many stages.
        times: windows since the start, `NEVER` for who was not infected [3, people]; changed in place.
        infector: who infected whom [people]; changed in place.
    """
    window, a, b, chance = contacts
    people, rows = len(away), len(window)
    if not rows:
        return
    last = window[rows - 1] + shift
    # Most rows are between two who both could not infect or both not be infected: a byte each tells, and no times.
    part = np.empty(people, np.uint8)
    for who in range(people):
        part[who] = OUT_OF_IT if away[who] else _part(who, window[0] + shift, last, times)
    for row in range(rows):
        i, j = a[row], b[row]
        if part[i] + part[j] != SUSCEPTIBLE + SPREADER:
            continue
        source, target = (i, j) if part[i] == SPREADER else (j, i)
        at = window[row] + shift
        if times[INFECTIOUS_AT, source] <= at < times[RECOVERED_AT, source] and (
            uniform(key, CONTACT, source * people + target, at) <= chance[row]
        ):
            infect(key, target, source, at, pace, times, infector)
            part[target] = _part(target, at, last, times)
