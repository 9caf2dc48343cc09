"""`jaga-sim bench accountants`: what the ledger charges, beside Opacus' accountants and dp-accounting's own.

Random sequences of events, as a node's ledger could hold them; half of them of sums over everything, as the recommended
plans are. The libraries answer for a run whose numbers are fixed in advance; the ledger's figure is that of a filter,
which holds against a leader that chooses by what it has seen, and it is of replacement.

- Opacus and dp-accounting are to agree with each other, way by way (added or removed).
- Without sampling a filter costs nothing, so the ledger is to be within a hundredth of the tighter library: replacement
  is half the noise, which both are told.
- With sampling it is to be never below dp-accounting's loss distribution of a pair of neighbours that exists
  (`REPLACE_ONE`), nor below Opacus' bound from below. How far above it is, is shown, and no target.
"""

from __future__ import annotations

import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version

import dp_accounting
import numpy as np
from dp_accounting import NeighboringRelation, pld, rdp
from msgspec.structs import replace
from opacus.accountants import PRVAccountant, RDPAccountant

from privacy.accounting.composition import Adjacency, epsilon
from privacy.accounting.events import SampledGaussian
from privacy.accounting.renyi import ORDERS as WHOLE_ORDERS
from simulations.benchmarks.table import Column, Outcome, Target

DELTA = 1e-6
AGREE = 0.01
GRID = 1e-3
PRV_ERROR = 0.002
"""Of epsilon, absolute; what Opacus' PRV accountant is asked for."""
ORDERS = [float(order) for order in WHOLE_ORDERS]
"""Whole orders, the same for both: at fractional ones Opacus' series do not always converge."""
Events = Sequence[SampledGaussian]
LEDGER, LEDGER_ADDED = "Jaga's ledger", "Jaga's ledger, added or removed"
PLD_REPLACED, PLD, RDP = "dp-accounting, PLD, replaced", "dp-accounting, PLD", "dp-accounting, RDP"
PRV, OPACUS_RDP = "Opacus, PRV", "Opacus, RDP"


def run_accountants(sequences: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Compare on so many random sequences."""
    random = np.random.default_rng(seed)
    ways: dict[str, Callable[[Events], float]] = {
        LEDGER: lambda events: epsilon(events, DELTA),
        LEDGER_ADDED: lambda events: epsilon(events, DELTA, Adjacency.ADDED_OR_REMOVED),
        PLD_REPLACED: lambda events: _dp_accounting(events, pld.PLDAccountant(NeighboringRelation.REPLACE_ONE, GRID)),
        PLD: lambda events: _dp_accounting(events, pld.PLDAccountant()),
        RDP: lambda events: _dp_accounting(events, rdp.RdpAccountant(ORDERS)),
        PRV: lambda events: _opacus_prv(events)[1],
        OPACUS_RDP: _opacus_rdp,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    lower: list[float] = []
    halved: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus' of orders at the end of their range
        for number in range(sequences):
            events = _sequence(random, sampled=number % 2 == 1)
            for name, way in ways.items():
                begun = time.perf_counter()
                found[name].append(way(events))
                seconds[name].append(time.perf_counter() - begun)
            lower.append(_opacus_prv(events)[0])
            if number % 2 == 0:
                half = [replace(event, noise_multiplier=event.noise_multiplier / 2) for event in events]
                halved.append(min(found[PLD_REPLACED][-1], _opacus_prv(half)[1]))
            if number % 20 == 19:
                say(f"{number + 1} of {sequences} sequences")
    tighter = np.minimum(found[PLD], found[PRV])
    over = {
        name: np.array(values) / (np.array(found[PLD_REPLACED]) if name in (LEDGER, PLD_REPLACED) else tighter) - 1
        for name, values in found.items()
    }
    rows = [
        {
            "way": name,
            "whole": float(np.max(over[name][::2])),
            "sampled": float(np.max(over[name][1::2], initial=0.0)),
            "median": float(np.median(over[name][1::2])) if sequences > 1 else 0.0,
            "ms": 1e3 * statistics.median(seconds[name]),
        }
        for name in ways
    ]
    apart = {
        "PLD and PRV": _apart(found[PLD], found[PRV], 2 * PRV_ERROR),
        "RDP and RDP": _apart(found[RDP], found[OPACUS_RDP], 0.0),
    }
    ours, added = np.array(found[LEDGER]), np.array(found[LEDGER_ADDED])
    whole = ours[::2] / np.array(halved)
    under = {
        "the loss distribution of a pair": np.array(found[PLD_REPLACED]) / ours - 1,
        "Opacus' bound from below": np.array(lower) / added - 1,
    }
    return Outcome(
        "what privacy costs",
        [
            Column("way", "accountant"),
            Column("whole", "sums of everything: most over the tighter %", ".2f", 0.01),
            Column("sampled", "sampled: most over %", ".1f", 0.01),
            Column("median", "sampled: median %", ".1f", 0.01),
            Column("ms", "ms", ",.1f"),
        ],
        rows,
        [
            *(
                Target(f"{name} of dp-accounting and Opacus apart", 100 * most, 100 * AGREE, "%")
                for name, most in apart.items()
            ),
            Target("ours over the tighter bound, without sampling", 100 * float(np.max(whole - 1)), 100 * AGREE, "%"),
            *(Target(f"ours under {name}", 100 * float(np.max(gap)), 0.0, "%") for name, gap in under.items()),
        ],
        {
            "sequences": sequences,
            "seed": seed,
            "delta": DELTA,
            "dp-accounting": version("dp-accounting"),
            "opacus": version("opacus"),
            "machine": platform.machine(),
        },
        [
            "The ledger's first figure is of replacement and over dp-accounting's for that; the others are of a unit "
            "added or removed. The ledger's are of filters: their order and their parts of delta are fixed in advance."
        ],
    )


def _sequence(random: np.random.Generator, *, sampled: bool) -> list[SampledGaussian]:
    rates = [0.01, 0.05, 0.2, 0.5, 1.0] if sampled else [1.0]
    return [
        SampledGaussian(float(random.uniform(1.8, 16.0)), float(random.choice(rates)), int(random.integers(1, 60)))
        for _ in range(random.integers(1, 5))
    ]


def _apart(one: Sequence[float], other: Sequence[float], error: float) -> float:
    """Relative, beyond the absolute error that one of them was asked for."""
    a, b = np.array(one), np.array(other)
    return float(np.max(np.maximum(np.abs(a - b) - error, 0) / np.minimum(a, b)))


def _dp_accounting(events: Events, accountant: dp_accounting.PrivacyAccountant) -> float:
    for event in events:
        gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        rate = event.sampling_rate
        accountant.compose(gaussian if rate == 1 else dp_accounting.PoissonSampledDpEvent(rate, gaussian), event.steps)
    return float(accountant.get_epsilon(DELTA))


def _opacus_rdp(events: Events) -> float:
    accountant = RDPAccountant()
    accountant.history = [(event.noise_multiplier, event.sampling_rate, event.steps) for event in events]
    return float(accountant.get_epsilon(DELTA, alphas=ORDERS))


def _opacus_prv(events: Events) -> tuple[float, float]:
    """A bound from below, and one from above."""
    accountant = PRVAccountant()
    accountant.history = [(event.noise_multiplier, event.sampling_rate, event.steps) for event in events]
    discrete = accountant._get_dprv(eps_error=PRV_ERROR, delta_error=DELTA / 1000)
    low, _, high = discrete.compute_epsilon(DELTA, DELTA / 1000, PRV_ERROR)
    return float(low), float(high)
