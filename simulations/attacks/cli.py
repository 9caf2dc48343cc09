"""`jaga-sim attack`: what attackers get without our protection, and with it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from simulations.attacks.finding import Audit, Finding, Roc
from simulations.attacks.fuzzing.command import command as malicious_leader
from simulations.attacks.statistics import ALARM, CONFIDENCE
from simulations.attacks.tables import attacks_table, audits_table, membership_table

NOT_HELD, BAD_INPUT = 1, 3

app = typer.Typer(name="attack", help="Attack the protections, and audit what they claim.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

Row = Finding | Roc | Audit
Step = Callable[[Path], Sequence[Row]]

app.command("malicious-leader")(malicious_leader)


@app.callback()
def common() -> None:
    """Attack the protections, and audit what they claim."""


@app.command("all")
def everything(
    only: Annotated[
        list[str] | None,
        typer.Option(help="One kind alone: membership, property, inversion, parties, groups, malicious-leader, audit."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of data and models; noise and masks are never seeded.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs; about three minutes.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Tables of attacks with and without our protection, of membership, and of audits, with 95 % intervals.

    Exit status 0 if every attack works without protection and, if one is claimed, fails with it, no audit refutes what
    is accounted, and every mechanism that was broken on purpose is found out.
    """
    logging.disable(logging.INFO)  # Flower tells of every round
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    steps = _steps(seed, quick=quick)
    if unknown := set(only or ()) - set(steps):
        err.print(
            f"[bold red]jaga-sim:[/] no attack is called {', '.join(sorted(unknown))}: there are {', '.join(steps)}"
        )
        raise typer.Exit(BAD_INPUT)
    rows = list[Row]()
    chosen = {name: step for name, step in steps.items() if not only or name in only}
    with (
        tempfile.TemporaryDirectory(prefix="jaga-attack-") as folder,
        Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=err) as progress,
    ):
        running = progress.add_task("attacks", total=len(chosen))
        for name, step in chosen.items():
            progress.update(running, description=name)
            home = Path(folder) / name
            home.mkdir()
            rows += step(home)
            progress.advance(running)
    findings = [row for row in rows if isinstance(row, Finding)]
    rocs = [row for row in rows if isinstance(row, Roc)]
    audits = [row for row in rows if isinstance(row, Audit)]
    if findings:
        out.print(attacks_table(findings))
    if rocs:
        out.print(membership_table(rocs))
    if audits:
        out.print(audits_table(audits))
    if json is not None:
        figures = {
            "seed": seed,
            "quick": quick,
            "confidence": CONFIDENCE,
            "alarm": ALARM,
            "attacks": with_verdicts(findings),
            "membership": with_verdicts(rocs),
            "audits": with_verdicts(audits),
        }
        json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    raise typer.Exit(0 if all(row.held for row in rows) else NOT_HELD)


def with_verdicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return each row as it is written to a file, with its verdict."""
    return [{**msgspec.to_builtins(row), "held": row.held} for row in rows]


def _steps(seed: int, *, quick: bool) -> dict[str, Step]:
    from simulations.attacks.auditing import audits  # noqa: PLC0415  (torch and Flower take seconds to import)
    from simulations.attacks.groups import groups  # noqa: PLC0415
    from simulations.attacks.inversion import inversion  # noqa: PLC0415
    from simulations.attacks.malicious_leader import findings as lies  # noqa: PLC0415
    from simulations.attacks.membership import Shadows, membership, properties  # noqa: PLC0415
    from simulations.attacks.parties import parties  # noqa: PLC0415

    return {
        "membership": lambda _: membership(seed, Shadows(500, 2000, 6000) if quick else Shadows(4000, 15_000, 60_000)),
        "property": lambda _: properties(seed, 400 if quick else 3000),
        "inversion": lambda _: inversion(seed, 60, 8, 2, (8.0,)) if quick else inversion(seed, 400, 40),
        "parties": lambda folder: parties(seed, 150 if quick else 600, folder),
        "groups": lambda folder: groups(seed, folder, 6 if quick else 10),
        "malicious-leader": lambda folder: lies(seed, folder, quick=quick),
        "audit": lambda _: audits(seed, 250 if quick else 2000),
    }
