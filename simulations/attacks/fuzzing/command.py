"""`jaga-sim attack malicious-leader`: rows of the table as they are made, and each task that tells two stores apart."""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simulations.attacks.finding import Finding

if TYPE_CHECKING:
    from simulations.attacks.fuzzing.search import Difference, Tally
    from simulations.attacks.malicious_leader import Report

NOT_HELD, BAD_INPUT = 1, 3

out = Console()
err = Console(stderr=True)


def command(
    seed: Annotated[int, typer.Option(min=0, help="Of stores and tasks; noise is never seeded.")] = 1,
    tasks: Annotated[int, typer.Option(min=10, help="About how many to send to neighbouring stores.")] = 3000,
    seconds: Annotated[float, typer.Option(min=1, help="At most so long for these.")] = 1200.0,
    quick: Annotated[bool, typer.Option("--quick", help="Two pairs of stores instead of five.")] = False,
    task: Annotated[str | None, typer.Option(help="Send this one task alone, as a difference names it.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Lie to nodes, and see whether anything but a noised sum depends on their records.

    Exit status 0 if neighbouring stores cannot be told apart and every attack that works on a careless node fails on
    ours; 1 if not.
    """
    logging.disable(logging.INFO)  # Flower tells of every round
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="jaga-attack-") as folder:
        if task is not None:
            raise typer.Exit(_one(task, seed, Path(folder)))
        report = _all(seed, Path(folder), tasks, seconds, quick=quick)
    if json is not None:
        rows = {"seed": seed, "tasks": tasks, "attacks": report.findings, "differences": report.differences}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
    raise typer.Exit(0 if report.held else NOT_HELD)


def _all(seed: int, folder: Path, tasks: int, seconds: float, *, quick: bool) -> Report:
    from simulations.attacks.malicious_leader import Report, malicious_leader  # noqa: PLC0415  (imports torch)

    report = Report()
    with err.status("the leader lies …") as status:
        for report in malicious_leader(seed, folder, tasks=tasks, seconds=seconds, quick=quick):
            status.update(f"{report.findings[-1].attack}: done")
    out.print(findings_table(report.findings))
    for difference in smallest(report.differences):
        out.print(told(difference, seed))
    out.print(_tried(report.tallies.values()))
    return report


def _one(text: str, seed: int, folder: Path) -> int:
    from simulations.attacks.fuzzing.tasks import FuzzTask  # noqa: PLC0415
    from simulations.attacks.malicious_leader import one_task  # noqa: PLC0415

    try:
        found = one_task(FuzzTask.of(text), seed, folder)
    except ValueError as why:
        err.print(f"[bold red]jaga-sim:[/] {escape(str(why))}")
        return BAD_INPUT
    for difference in found:
        out.print(told(difference, seed))
    out.print(f"{len(found)} differences")
    return NOT_HELD if found else 0


def smallest(differences: list[Difference]) -> list[Difference]:
    """Return the difference with the fewest mutations of each field and base."""
    best: dict[tuple[str, str], Difference] = {}
    for one in differences:
        known = best.get((one.field, one.task.base))
        if known is None or len(one.task.mutations) < len(known.task.mutations):
            best[one.field, one.task.base] = one
    return list(best.values())


def told(difference: Difference, seed: int) -> str:
    """Return a difference in words, and how to see it again."""
    command = f"jaga-sim attack malicious-leader --seed {seed} --task {shlex.quote(difference.task.text())}"
    lines = [
        f"[bold]{difference.field}[/] tells apart: {escape(difference.pair)} ({difference.like} more like it)",
        f"  {escape(str(difference.task))}",
        f"  one: {escape(difference.a or 'nothing')}",
        *([f"  other: {escape(difference.b or 'nothing')}"] if difference.a or difference.b else []),
        f"  again: {escape(command)}",
    ]
    return "\n".join(lines)


def findings_table(findings: list[Finding]) -> Table:
    """Rows with what was found beside them."""
    caption = "0: nothing, 1: all; without: on a careless node, with: on ours"
    table = Table(title="A leader that lies", caption=caption, caption_justify="left")
    for title in ("attack", "the leader saw"):
        table.add_column(title)
    for title in ("without", "with"):
        table.add_column(title, justify="right")
    table.add_column("")
    table.add_column("found")
    for row in findings:
        verdict = "[green]held[/]" if row.held else "[bold red]NOT held[/]"
        table.add_row(row.attack, row.saw, f"{row.without:.2f}", f"{row.protected:.2f}", verdict, escape(row.note))
    return table


def _tried(tallies: Iterable[Tally]) -> str:
    answered, refused, sent = Counter[str](), Counter[str](), 0
    for tally in tallies:
        answered += tally.answered
        refused += tally.refused
        sent += tally.tasks
    said = [f"{sent} tasks: {sum(answered.values())} answered"]
    said += [f"{count} {word!r}" for word, count in refused.most_common()]
    return escape(", ".join(said))
