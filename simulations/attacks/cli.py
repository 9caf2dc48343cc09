"""`jaga-sim attack`: what attackers get without our protection, and with it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from simulations.attacks.finding import Audit, Finding
from simulations.attacks.fuzzing.command import command as malicious_leader

NOT_HELD, BAD_INPUT = 1, 3

app = typer.Typer(name="attack", help="Attack the protections, and audit what they claim.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

Step = Callable[[Path], list[Finding] | list[Audit]]

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
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs; about half a minute.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """One table: attack, what the attacker saw, advantage without our protection, and with it.

    Exit status 0 where every attack works without protection and, where one is claimed, fails with it, every audit
    lies under what is accounted, and every mechanism that was broken on purpose is found out.
    """
    logging.disable(logging.INFO)  # Flower tells of every round
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    steps = _steps(seed, quick=quick)
    if unknown := set(only or ()) - set(steps):
        err.print(
            f"[bold red]jaga-sim:[/] no attack is called {', '.join(sorted(unknown))}: there are {', '.join(steps)}"
        )
        raise typer.Exit(BAD_INPUT)
    findings, audits = list[Finding](), list[Audit]()
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
            for result in step(home):
                findings += [result] if isinstance(result, Finding) else []
                audits += [result] if isinstance(result, Audit) else []
            progress.advance(running)
    if findings:
        out.print(attacks_table(findings))
    if audits:
        out.print(audits_table(audits))
    if json is not None:
        rows = {"seed": seed, "quick": quick, "attacks": findings, "audits": audits}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
    held = all(row.held for row in findings) and all(row.held for row in audits)
    raise typer.Exit(0 if held else NOT_HELD)


def _steps(seed: int, *, quick: bool) -> dict[str, Step]:
    from simulations.attacks.auditing import audits  # noqa: PLC0415  (torch and Flower take seconds to import)
    from simulations.attacks.groups import groups  # noqa: PLC0415
    from simulations.attacks.inversion import inversion  # noqa: PLC0415
    from simulations.attacks.malicious_leader import findings as lies  # noqa: PLC0415
    from simulations.attacks.membership import membership, properties  # noqa: PLC0415
    from simulations.attacks.parties import parties  # noqa: PLC0415

    return {
        "membership": lambda _: membership(seed, 300 if quick else 3000),
        "property": lambda _: properties(seed, 300 if quick else 1500),
        "inversion": lambda _: inversion(seed, 60 if quick else 400),
        "parties": lambda folder: parties(seed, 150 if quick else 600, folder),
        "groups": lambda folder: groups(seed, folder),
        "malicious-leader": lambda folder: lies(seed, folder, quick=quick),
        "audit": lambda _: audits(seed, 800 if quick else 6000),
    }


def attacks_table(findings: list[Finding]) -> Table:
    """Advantages: 0 is a coin, 1 is certainty."""
    table = Table(
        title="Attacks",
        caption="advantage: 0 is a coin's, 1 is certainty; shown: no protection claims to hold",
        caption_justify="left",
    )
    for title in ("attack", "the attacker saw"):
        table.add_column(title)
    for title in ("without", "with", ""):
        table.add_column(title, justify="right")
    for row in findings:
        good = "shown" if row.limit is None else "held"
        verdict = f"[green]{good}[/]" if row.held else "[bold red]NOT held[/]"
        table.add_row(row.attack, row.saw, f"{row.without:.2f}", f"{row.protected:.2f}", verdict)
    return table


def audits_table(audits: list[Audit]) -> Table:
    """Audited against accounted epsilon."""
    caption = "audited: a lower bound of epsilon, with 95 % confidence; a broken mechanism has to be found out"
    table = Table(title=f"Audits, at delta {audits[0].delta:g}", caption=caption, caption_justify="left")
    table.add_column("mechanism")
    for title in ("audited", "accounted", "broken on purpose", ""):
        table.add_column(title, justify="right")
    for row in audits:
        verdict = (
            ("found out" if row.broken else "held") if row.held else ("NOT found out" if row.broken else "NOT held")
        )
        style = "green" if row.held else "bold red"
        broken = "yes" if row.broken else "no"
        table.add_row(row.mechanism, f"{row.audited:.2f}", f"{row.accounted:.2f}", broken, f"[{style}]{verdict}[/]")
    return table
