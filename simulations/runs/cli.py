"""`jaga-sim run`: what an experiment file asks for."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simulations.runs.examples import examples

if TYPE_CHECKING:
    from simulations.engine.workers import Backend

BAD_INPUT, RUN_FAILED, INTERRUPTED = 3, 5, 130

out = Console()
err = Console(stderr=True)


class Where(StrEnum):
    """Where nodes train."""

    PROCESSES = "processes"
    RAY = "ray"


def run(
    experiment: Annotated[
        str | None, typer.Argument(help="An experiment file, or the name of one that comes along: see --list.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="table.key=value wins over the file; a list is a sweep. Several times."),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Where runs' folders go.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is not done; leave what is.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many train at once. Default: as many as there are cores.")
    ] = None,
    backend: Annotated[
        Where, typer.Option(help="Who trains: processes of this machine, or a Ray cluster that runs already.")
    ] = Where.PROCESSES,
    ray_address: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of that cluster's head. Default: RAY_ADDRESS, or the one that runs here."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Draw errors by round meanwhile.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the experiments that come along, and end.")] = False,
) -> None:
    """Run an experiment: a world or data set, a task, a strategy, privacy, and what goes wrong.

    Every point of a sweep and every seed is a run with a folder of its own. Equal settings and seed give equal bytes.
    Ctrl-C lets the round in hand finish and saves; --resume goes on.
    """
    if listed or experiment is None:
        table = Table.grid(padding=(0, 2))
        for name, path in examples().items():
            table.add_row(f"[bold]{name}[/]", escape(path.read_text("utf-8").splitlines()[0].removeprefix("# ")))
        out.print(table, highlight=False)
        if experiment is None and not listed:
            _fail(BAD_INPUT, "name an experiment: one of these, or a file of your own")
        raise typer.Exit
    from simulations.engine.ray_workers import BadCluster  # noqa: PLC0415
    from simulations.runs.experiment import BadExperiment  # noqa: PLC0415  (torch and Flower take seconds to import)
    from simulations.runs.folder import BadRunFolder, RunFolder  # noqa: PLC0415
    from simulations.runs.screen import RunScreen, summary  # noqa: PLC0415
    from simulations.runs.series import RunFailed, carry_out_all, orders  # noqa: PLC0415
    from simulations.runs.sweep import Sweep  # noqa: PLC0415

    trained_by = _backend(backend, ray_address, workers)
    try:
        sweep = Sweep.read(experiment, change or ())
        todo = orders(sweep, folder, resume=resume)
        rounds = sum(order.experiment.experiment.rounds for order in todo)
        if todo:
            with RunScreen(err, len(todo), rounds, live=live) as screen:
                carry_out_all(todo, trained_by, screen.tell)
        runs = [RunFolder(folder / one.run_name) for one in sweep.experiments]
        there = [one for one in runs if (one.path / "run.json").exists()]
        left = len(runs) - sum(one.info.status == "done" for one in there)
        out.print(summary(there))
    except (BadExperiment, BadRunFolder, BadCluster) as why:
        _fail(BAD_INPUT, why)
    except (RunFailed, OSError) as why:
        _fail(RUN_FAILED, why)
    except KeyboardInterrupt:
        _fail(INTERRUPTED, "stopped at once; --resume goes on from what was saved last")
    if left:
        _fail(INTERRUPTED, f"stopped, not done: {left} of {len(runs)} run(s); the same command with --resume goes on")
    out.print(f"jaga-sim report {folder} makes a page of all runs there", highlight=False, style="dim")


def _backend(where: Where, ray_address: str | None, workers: int | None) -> int | Backend:
    if where is Where.RAY:
        from simulations.engine.ray_workers import RayCluster  # noqa: PLC0415  (imports torch)

        return RayCluster(ray_address or "auto", workers)
    if ray_address is not None:
        _fail(BAD_INPUT, f"--ray-address {ray_address} is of a cluster: add --backend ray")
    return workers or os.cpu_count() or 1


def _fail(status: int, why: object) -> NoReturn:
    err.print(f"[bold red]jaga-sim:[/] {escape(str(why))}", soft_wrap=True, highlight=False)
    raise typer.Exit(status)
