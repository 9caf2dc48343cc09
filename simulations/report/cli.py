"""`jaga-sim report`: run folders in, one page and figures for print out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from simulations.report.phrases import counted

BAD_INPUT = 3

out_console = Console()
err = Console(stderr=True)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that such are in.")],
    out: Annotated[Path, typer.Option(help="Where the page and the figures go.")] = Path("report"),
    title: Annotated[str | None, typer.Option(help="Over the page. Default: the names of the experiments.")] = None,
) -> None:
    """Turn runs into one HTML page that needs nothing else, and figures for print (PDF and SVG)."""
    from simulations.report.reading import NothingToReport  # noqa: PLC0415  (pyarrow and matplotlib take a second)
    from simulations.report.report import write_report  # noqa: PLC0415

    try:
        written = write_report(runs, out, title)
    except (NothingToReport, OSError) as why:
        err.print(f"[bold red]jaga-sim:[/] {escape(str(why))}", soft_wrap=True, highlight=False)
        raise typer.Exit(BAD_INPUT) from why
    for warning in written.warnings:
        err.print(f"[yellow]left out:[/] {escape(warning)}", soft_wrap=True, highlight=False)
    for one in written.left_out:
        out_console.print(f"no figure: {one.title}: {one.reason}", soft_wrap=True, highlight=False, markup=False)
    figures = counted(len(written.plots), "figure")
    out_console.print(
        f"{counted(written.runs, 'run')}, {figures}: {written.page}", soft_wrap=True, highlight=False, markup=False
    )
