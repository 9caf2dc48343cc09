"""`jaga-sim run`: what an experiment file asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

BAD_INPUT, RUN_FAILED, INTERRUPTED = 3, 5, 130

out = Console()
err = Console(stderr=True)


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
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: as many as there are cores.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Draw errors by round meanwhile.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the experiments that come along, and end.")] = False,
) -> None:
    """Run an experiment: a world or data set, a task, a strategy, privacy, and what goes wrong.

    Every point of a sweep and every seed is a run with a folder of its own. Equal settings and seed give equal bytes.
    Ctrl-C lets the round in hand finish and saves; --resume goes on.
    """
    from simulations.runs.experiment import BadExperiment  # noqa: PLC0415  (torch and Flower take seconds to import)
    from simulations.runs.folder import BadRunFolder, RunFolder  # noqa: PLC0415
    from simulations.runs.series import RunFailed, carry_out_all, orders  # noqa: PLC0415
    from simulations.runs.sweep import Sweep, examples  # noqa: PLC0415

    if listed or experiment is None:
        for name, path in examples().items():
            what = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
            out.print(f"[bold]{name}[/]  {what}", highlight=False)
        if experiment is None and not listed:
            _fail(BAD_INPUT, "name an experiment: one of these, or a file of your own")
        raise typer.Exit
    try:
        sweep = Sweep.read(experiment, change or ())
        todo = orders(sweep, folder, resume=resume)
        rounds = sum(order.experiment.experiment.rounds for order in todo)
        from simulations.runs.screen import RunScreen, summary  # noqa: PLC0415

        if todo:
            with RunScreen(err, len(todo), rounds, live=live) as screen:
                statuses = carry_out_all(todo, workers or os.cpu_count() or 1, screen.tell)
        else:
            statuses = {}
    except (BadExperiment, BadRunFolder) as why:
        _fail(BAD_INPUT, why)
    except RunFailed as why:
        _fail(RUN_FAILED, why)
    except KeyboardInterrupt:
        _fail(INTERRUPTED, "stopped at once; --resume goes on from what was saved last")
    runs = [RunFolder(folder / one.run_name) for one in sweep.experiments]
    out.print(summary([one for one in runs if (one.path / "run.json").exists()]))
    stopped = len(todo) - sum(status == "done" for status in statuses.values())
    if stopped:
        _fail(INTERRUPTED, f"stopped, {stopped} of {len(runs)} runs are not done: the same command with --resume")
    out.print(f"jaga-sim report {folder} makes a page of all runs there", highlight=False, style="dim")


def _fail(status: int, why: object) -> None:
    err.print(f"[bold red]jaga-sim:[/] {why}", soft_wrap=True, highlight=False)
    raise typer.Exit(status)
