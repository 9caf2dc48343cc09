"""What the recommended plans promise, as the table of docs/privacy.md: of a slot, of a person's day, of many days.

    python -m simulations.experiments.guarantees

Nothing is measured here: figures are worked out from the plans' noise by `privacy.accounting`, and rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.shared import SHARED_NOISE, Protection
from edge.learning.tasks.crowding import LAGS, SLOTS_A_DAY, TASK
from edge.learning.tasks.units import RECORD
from privacy.accounting.composition import Adjacency, epsilon
from privacy.accounting.events import Event, of_units
from privacy.accounting.guarantees import STAY_DAYS, of_person_in, rounded_up
from privacy.accounting.ledger import UNIT_SPREAD_S, Budget
from privacy.accounting.persons import of_person

DAY_UNITS = (SLOTS_A_DAY - LAGS) / TASK.unit_examples
"""A day of one node has so many examples, clipped to C each; a slot moves a sum by `unit_examples` C."""
COHORT = 11
LIFETIME_S = 14 * 86400.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: epsilon of replacement, and of being there or not, for each mechanism."""

    secret: str
    replaced: tuple[float, ...]
    added: tuple[float, ...]


def plans(budget: float, delta: float, rounds: int) -> tuple[list[Event], list[Event]]:
    """All events of a run of `crowding` by slot: each node's own noise, and noise that nodes share."""
    own = DpSgdPlan.within(budget, delta, rounds, TASK.unit_examples)
    shared = Protection.within(SHARED_NOISE, RECORD, budget, delta, rounds, COHORT)
    events: tuple[Sequence[Event], ...] = (
        [*own.events(TASK.unit_examples, TASK.unit), *own.metrics_events(TASK.unit)],
        shared.events(TASK.unit_examples, TASK.unit),
    )
    whole = [[msgspec.structs.replace(event, day_units=DAY_UNITS) for event in one] * rounds for one in events]
    return whole[0], whole[1]


def rows(budget: float, delta: float, rounds: int, nodes: Sequence[int]) -> list[Row]:
    """The table."""
    runs = plans(budget, delta, rounds)

    def row(secret: str, secrets: Sequence[Sequence[Event]]) -> Row:
        both = [tuple(epsilon(one, delta, adjacency) for one in secrets) for adjacency in Adjacency]
        return Row(secret, *both)

    found = [
        row("one half hour (the unit)", runs),
        *(row(f"{n} half hours of one day", [[of_units(event, n) for event in one] for one in runs]) for n in (2, 12)),
    ]
    for heard in (1, *nodes):
        by = f", heard by {heard} nodes" if heard > 1 else ""
        found.append(row(f"a person's day{by}", [[of_person(e, nodes=heard) for e in one] for one in runs]))
    for heard in (1, *nodes):
        by = f", heard by {heard} nodes" if heard > 1 else ""
        once = [[of_person(event, days=STAY_DAYS, nodes=heard) for event in one] for one in runs]
        found.append(row(f"a person on {STAY_DAYS} days{by}", once))
    # As soon as a slot's budget is whole again, the run is repeated.
    again = [[(0.0, one), (LIFETIME_S + UNIT_SPREAD_S + 1, one)] for one in runs]
    keeper = Budget(budget, delta, LIFETIME_S)
    for days in (1, STAY_DAYS):
        of = [of_person_in(run, keeper, days) for run in again]
        who = "a person's day" if days == 1 else f"a person on {days} days"
        added = tuple(one.added for one in of)
        found.append(Row(f"{who}, if the run is repeated for ever", tuple(one.epsilon for one in of), added))
    return found


def main(
    budget: Annotated[float, typer.Option("--epsilon", help="Of one slot.")] = 8.0,
    delta: Annotated[float, typer.Option(help="Of everything.")] = 1e-6,
    rounds: Annotated[int, typer.Option(min=1, help="Of the run.")] = 10,
    nodes: Annotated[list[int] | None, typer.Option(help="Of one site, that hear the same person.")] = None,
) -> None:
    """Print the table as Markdown."""
    say = Console(soft_wrap=True, highlight=False).print
    say(f"epsilon at delta {delta:g}; {rounds} rounds of crowding, epsilon {budget:g} a slot. First: what is secret is")
    say("replaced by anything; in brackets: it is there, or is not.")
    say("| what is secret | each node's own noise | noise that nodes share |\n|---|---|---|")
    for row in rows(budget, delta, rounds, nodes or [3]):
        cells = (f"{rounded_up(a)} ({rounded_up(b)})" for a, b in zip(row.replaced, row.added, strict=True))
        say(f"| {row.secret} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
