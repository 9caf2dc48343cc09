"""Tables of `jaga-sim attack`: every figure beside its 95 % interval."""

from __future__ import annotations

import math

from rich.table import Table

from simulations.attacks.finding import Audit, Finding, Roc
from simulations.attacks.statistics import ALARM, Interval

VERDICTS = (
    f"intervals: 95 % each, exact (Clopper-Pearson) unless marked b (bootstrap); verdicts: {1 - ALARM:.6f} each, "
    "so at least 99.99 % for the table"
)


def attacks_table(findings: list[Finding]) -> Table:
    """Advantages: 0 is a coin, 1 is certainty."""
    table = _table(
        "Attacks", f"advantage: 0 is a coin's, 1 is certainty; shown: no protection claims to hold; {VERDICTS}"
    )
    for title in ("attack", "the attacker saw"):
        table.add_column(title)
    for title in ("without", "with", ""):
        table.add_column(title, justify="right")
    for row in findings:
        good = "shown" if row.limit is None else "held"
        mark = " b" if row.interval == "bootstrap" else ""
        table.add_row(
            row.attack,
            row.saw,
            _figure(row.without, row.without_95) + mark,
            _figure(row.protected, row.protected_95) + mark,
            _verdict(good if row.held else "NOT held", good=row.held),
        )
    return table


def membership_table(rows: list[Roc]) -> Table:
    """True positives of an attacker who is hardly ever wrong."""
    caption = (
        "LiRA: true positives at so many false ones, in % with 95 % intervals (exact); "
        "allowed: what the accounted epsilon allows at the upper end of the measured false positives"
    )
    table = _table("Membership of a half hour", caption)
    table.add_column("to be told; what the attacker knows")
    for title in ("epsilon", "false, %", "measured", "true positives, %", "allowed", ""):
        table.add_column(title, justify="right")
    for row in rows:
        told = "works" if row.epsilon is None else "held"
        table.add_row(
            row.attack,
            "none" if row.epsilon is None else f"{row.epsilon:g}",
            f"{100 * row.false_positives:g}",
            _percent(row.measured_false, row.measured_false_95),
            _percent(row.true_positives, row.true_positives_95),
            "" if row.epsilon is None else f"{100 * row.most:.2f}",
            _verdict(told if row.held else "NOT held", good=row.held),
        )
    return table


def audits_table(audits: list[Audit]) -> Table:
    """Audited against accounted epsilon."""
    caption = (
        "proven: a lower bound of epsilon with 95 % confidence (Clopper-Pearson; one run: Steinke et al. 2023); "
        "mu: 95 % interval of Gaussian DP, of many runs the lower end is a proof; fitted: epsilon of a Gaussian with "
        f"that mu, an estimate; a broken mechanism has to be found out; verdicts: {1 - ALARM:.6f} each"
    )
    table = _table(f"Audits, at delta {audits[0].delta:g}", caption)
    for title in ("mechanism", "neighbours", "by"):
        table.add_column(title)
    for title in ("proven", "accounted", "mu", "accounted mu", "fitted", ""):
        table.add_column(title, justify="right")
    for row in audits:
        good, bad = ("found out", "NOT found out") if row.broken else ("held", "NOT held")
        name = f"broken: {row.mechanism}" if row.broken else row.mechanism
        table.add_row(
            name,
            row.neighbour,
            row.way,
            f"{row.audited:.2f}",
            _number(row.accounted),
            "" if row.mu is None else _interval(row.mu),
            "" if row.accounted_mu is None else _number(row.accounted_mu),
            "" if row.fitted is None else _interval(row.fitted),
            _verdict(good if row.held else bad, good=row.held),
        )
    return table


def _table(title: str, caption: str) -> Table:
    return Table(title=title, caption=caption, caption_justify="left")


def _verdict(word: str, *, good: bool) -> str:
    return f"[{'green' if good else 'bold red'}]{word}[/]"


def _figure(value: float, interval: Interval | None) -> str:
    return f"{value:.2f}" if interval is None else f"{value:.2f} {_interval(interval)}"


def _interval(interval: Interval) -> str:
    # The bracket is escaped, for rich takes [ for the begin of a style.
    return f"\\[{_number(interval[0])}, {_number(interval[1])}]"


def _number(value: float) -> str:
    return "inf" if math.isinf(value) else f"{value:.2f}"


def _percent(value: float, interval: Interval) -> str:
    return f"{100 * value:.2f} \\[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
