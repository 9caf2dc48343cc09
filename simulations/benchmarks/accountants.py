"""`jaga-sim bench accountants`: what the ledger charges, beside Opacus' accountants and dp-accounting's own.

Random sequences of events, as a node's ledger could hold them. Opacus and dp-accounting are to agree with each other,
way by way, and ours with the tighter of the two that are bounds; a bound from below shows that it is never too little.
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
from dp_accounting import pld, rdp
from opacus.accountants import PRVAccountant, RDPAccountant

from privacy.accounting.composition import RDP_ORDERS, epsilon
from privacy.accounting.events import SampledGaussian
from simulations.benchmarks.table import Column, Outcome, Target

DELTA = 1e-6
AGREE = 0.01
PRV_ERROR = 0.002
"""Of epsilon, absolute; what Opacus' PRV accountant is asked for."""
ORDERS = [float(order) for order in RDP_ORDERS]
"""Whole orders, the same for both: at fractional ones Opacus' series do not always converge."""
Events = Sequence[SampledGaussian]


def run_accountants(sequences: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Compare on so many random sequences."""
    random = np.random.default_rng(seed)
    ways: dict[str, Callable[[Events], float]] = {
        "Jaga's ledger": lambda events: epsilon(events, DELTA),
        "dp-accounting, PLD": lambda events: _dp_accounting(events, pld.PLDAccountant()),
        "dp-accounting, RDP": lambda events: _dp_accounting(events, rdp.RdpAccountant(ORDERS)),
        "Opacus, PRV": lambda events: _opacus_prv(events)[1],
        "Opacus, RDP": _opacus_rdp,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    lower: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus' of orders at the end of their range
        for number in range(sequences):
            events = _sequence(random)
            for name, way in ways.items():
                begun = time.perf_counter()
                found[name].append(way(events))
                seconds[name].append(time.perf_counter() - begun)
            lower.append(_opacus_prv(events)[0])
            if number % 20 == 19:
                say(f"{number + 1} of {sequences} sequences")
    ours = np.array(found["Jaga's ledger"])
    tighter = np.minimum(found["dp-accounting, PLD"], found["Opacus, PRV"])
    rows = [
        {
            "way": name,
            "over": float(np.max(np.array(values) / tighter - 1)),
            "median": float(np.median(np.array(values) / tighter - 1)),
            "ms": 1e3 * statistics.median(seconds[name]),
        }
        for name, values in found.items()
    ]
    apart = {
        "PLD and PRV": _apart(found["dp-accounting, PLD"], found["Opacus, PRV"], 2 * PRV_ERROR),
        "RDP and RDP": _apart(found["dp-accounting, RDP"], found["Opacus, RDP"], 0.0),
    }
    return Outcome(
        "what privacy costs",
        [
            Column("way", "accountant"),
            Column("over", "most over the tighter %", ".2f", 0.01),
            Column("median", "median %", ".2f", 0.01),
            Column("ms", "ms", ",.1f"),
        ],
        rows,
        [
            *(
                Target(f"{name} of dp-accounting and Opacus apart", 100 * most, 100 * AGREE, "%")
                for name, most in apart.items()
            ),
            Target("ours over the tighter bound", 100 * float(np.max(ours / tighter - 1)), 100 * AGREE, "%"),
            Target("ours under the tighter bound", 100 * float(np.max(1 - ours / tighter)), 100 * AGREE, "%"),
            Target("ours under the bound from below", 100 * float(np.max(np.array(lower) / ours - 1)), 0.0, "%"),
        ],
        {
            "sequences": sequences,
            "seed": seed,
            "delta": DELTA,
            "dp-accounting": version("dp-accounting"),
            "opacus": version("opacus"),
            "machine": platform.machine(),
        },
        ["Gaussians without sampling are charged exactly (Balle and Wang 2018), a little below what grids say."],
    )


def _sequence(random: np.random.Generator) -> list[SampledGaussian]:
    return [
        SampledGaussian(
            float(random.uniform(0.9, 8.0)),
            float(random.choice([0.01, 0.05, 0.2, 0.5, 1.0])),
            int(random.integers(1, 60)),
        )
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
