"""`jaga-sim`: what researchers type, and what a newcomer types first."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from privacy.logs import LogFormat, configure
from simulations.attacks.cli import app as attack
from simulations.benchmarks.cli import app as bench
from simulations.datasets.cli import app as data
from simulations.report.cli import report
from simulations.runs.cli import run

VERDICT_FAILED, BAD_INPUT, NO_BROKER, PROCESS_FAILED = 1, 3, 4, 5

HELP = """Run whole federations on one machine, and measure them.

Exit status: 0 it held, 1 the verdict or a target did not hold, 2 wrong usage, 3 data or a value that cannot be used,
4 no broker, 5 a process of the federation failed.
"""

app = typer.Typer(name="jaga-sim", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
out = Console()
err = Console(stderr=True)


app.add_typer(bench)
app.add_typer(attack)
app.add_typer(data)
app.command()(run)
app.command()(report)


@app.callback()
def common(
    log: Annotated[
        LogFormat, typer.Option("--log", help="Log as text for people, or one JSON object a line.")
    ] = LogFormat.TEXT,
) -> None:
    """Options for every command."""
    configure(log)


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="SocioPatterns contacts to replay, a node for each class or ward. Default: a school of our own."
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="Who belongs to which department, where the contacts do not say it."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(help="How many nodes. With --data: the busiest zones; default: all of them.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Federated rounds.")] = 10,
    epsilon: Annotated[
        float, typer.Option(help="Privacy budget of every node for one record's lifetime of 15 days, at delta 1e-6.")
    ] = 8.0,
    seed: Annotated[
        int, typer.Option(help="Seed of the generated school and of the replayed tags. Noise is never seeded.")
    ] = 1,
    broker: Annotated[
        str | None,
        typer.Option(help="Use this MQTT 5 broker, mqtts://[USER:PASSWORD@]HOST:PORT, instead of starting one."),
    ] = None,
    broker_ca: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) of the authority that issued that broker's certificate.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep everything in this new folder. Default: a temporary one."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Watch a federation learn: nodes, broker, centre, and an eavesdropper that tries to catch a leak."""
    from simulations.demo.interrupt import ctrl_c_is_heard  # noqa: PLC0415
    from simulations.demo.run import DemoSettings, run_demo  # noqa: PLC0415  (torch and Flower take seconds to import)
    from simulations.demo.screen import Screen, show  # noqa: PLC0415
    from simulations.demo.trouble import status_of  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="jaga-demo-") as temporary:
        try:
            settings = DemoSettings(
                folder or Path(temporary) / "demo", data, metadata, nodes, rounds, epsilon, seed, broker, broker_ca
            )
            with ctrl_c_is_heard(), Screen(out) as screen:
                report = run_demo(settings, screen)
        except KeyboardInterrupt:
            fail(130, "stopped; all processes of the demo were ended")
        except Exception as why:
            status = status_of(why)
            if status is None:
                raise
            fail(status, why)
        show(report, out)
        if json is not None:
            held = {"held": report.verdict.held, "gap_closed": report.verdict.gap_closed}
            json.write_bytes(msgspec.json.format(msgspec.json.encode({**held, **msgspec.to_builtins(report)})) + b"\n")
            out.print(f"figures written to {json}", highlight=False)
    raise typer.Exit(0 if report.verdict.held else VERDICT_FAILED)


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    task: Annotated[str, typer.Option(help="The task to learn.")] = "crowding",
    epsilon: Annotated[float, typer.Option(help="Budget of a node for one record's lifetime, at --delta.")] = 8.0,
    delta: Annotated[float, typer.Option(help="Delta of that budget.")] = 1e-6,
    rounds: Annotated[int, typer.Option(help="Federated rounds.")] = 10,
    min_nodes: Annotated[int, typer.Option(help="Nodes without which a round does not begin.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the generated worlds that the first model has seen.")] = 0,
) -> None:
    """Make what the central team needs to start a run: a first model, its card, and a run file with the right noise."""
    from edge.learning.dpsgd import DpSgdPlan  # noqa: PLC0415
    from edge.learning.tasks.task import UnknownTask, load_task  # noqa: PLC0415
    from privacy.accounting.composition import NoiseNotFound  # noqa: PLC0415
    from simulations.handover import StartModel, run_file  # noqa: PLC0415

    try:
        chosen = load_task(task)
        plan = DpSgdPlan.within(epsilon, delta, rounds, chosen.unit_examples)
        model = StartModel.pretrained(chosen, seed)
        paths = model.write(folder)
        text = run_file(chosen, plan, name=f"{task}-1", model=model.card["name"], rounds=rounds, min_nodes=min_nodes)
        (folder / "run.toml").write_text(text, "utf-8")
    except (UnknownTask, NoiseNotFound, ValueError, OSError) as why:
        fail(BAD_INPUT, why)
    out.print(f"Made {paths[0]}, {paths[1]} and {folder / 'run.toml'}. At the centre:", highlight=False)
    out.print(f"  jaga-central models add {paths[0]} --card {paths[1]}", highlight=False, soft_wrap=True)
    out.print(f"  jaga-central run {folder / 'run.toml'}", highlight=False, soft_wrap=True)


def fail(code: int, why: object) -> NoReturn:
    """One line that says what to do."""
    err.print(f"[bold red]jaga-sim:[/] {escape(str(why))}", soft_wrap=True, highlight=False, markup=True)
    raise typer.Exit(code)


def main() -> None:
    """Entry point of `jaga-sim`."""
    sys.exit(app())


if __name__ == "__main__":
    main()
