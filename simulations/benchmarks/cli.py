"""`jaga-sim bench`: every benchmark prints a table, states its targets, and ends with status 0 only where they hold."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from simulations.broker import BrokerUnavailable

TARGET_MISSED, BAD_INPUT, NO_BROKER, PROCESS_FAILED = 1, 3, 4, 5

app = typer.Typer(name="bench", help="Measure, and hold the figures against their targets.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)


@app.callback()
def common() -> None:
    """Measure, and hold the figures against their targets."""


@app.command()
def wire(
    quick: Annotated[bool, typer.Option("--quick", help="A small sweep, in about a minute without Flower.")] = False,
    nodes: Annotated[int | None, typer.Option(min=1, help="One point instead of the sweep: how many nodes.")] = None,
    params: Annotated[int | None, typer.Option(min=1, help="One point: how many float32 parameters.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of our wire, after a warm-up.")] = 10,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="Measure Flower's own wire, too.")] = True,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Our MQTT wire beside Flower's SuperLink: time, bytes and memory of a round."""
    from simulations.benchmarks.wire import MAIN, QUICK, WireSettings, run_wire  # noqa: PLC0415  (imports Flower)
    from simulations.benchmarks.wire_measurement import Point, RoundsWentWrong  # noqa: PLC0415

    settings = WireSettings(rounds=rounds)
    if nodes or params:
        point = Point(nodes or MAIN.nodes, params or MAIN.params)
        settings = WireSettings((point,), (point,), rounds)
    elif quick:
        settings = WireSettings(QUICK, (QUICK[-1],), rounds)
    if not flower:
        settings = WireSettings(settings.points, (), rounds)
    with tempfile.TemporaryDirectory(prefix="jaga-bench-") as folder:
        try:
            result = run_wire(settings, Path(folder), lambda what: err.print(what, style="dim", highlight=False))
        except BrokerUnavailable as why:
            fail(NO_BROKER, why)
        except (RoundsWentWrong, FileNotFoundError) as why:
            fail(PROCESS_FAILED, why)
    result.show(out)
    if json is not None:
        try:
            result.write(json)
        except OSError as why:
            fail(BAD_INPUT, f"{json}: {why.strerror}; choose another file")
        out.print(f"figures written to {json}", highlight=False)
    raise typer.Exit(0 if result.held else TARGET_MISSED)


def fail(status: int, why: object) -> NoReturn:
    """One line that says what to do, and an exit status that says which kind of trouble it is."""
    err.print(f"[bold red]jaga-sim:[/] {why}", soft_wrap=True, highlight=False)
    raise typer.Exit(status)
