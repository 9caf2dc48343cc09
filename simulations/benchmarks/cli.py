"""`jaga-sim bench`: every benchmark prints a table, states its targets, and ends with status 0 only where they hold."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from simulations.benchmarks.table import Outcome
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
    conclude(result, json)


@app.command()
def matching(
    people: Annotated[int, typer.Option(min=1, help="Diagnosed people, each with a key a day.")] = 10_000,
    days: Annotated[int, typer.Option(min=2, help="Days of keys and sightings.")] = 14,
    sightings: Annotated[int, typer.Option(min=8, help="Stored sightings, each of its own identifier.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of deriving and matching.")] = 5,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Published keys against stored sightings, beside the key derivations alone: CPU time and memory."""
    from simulations.benchmarks.matching import MatchingSettings, NotWhatWasPlanted, run_matching  # noqa: PLC0415

    settings = MatchingSettings(people, days, sightings, min(1000, sightings // 8), repeats)
    try:
        result = run_matching(settings, lambda what: err.print(what, style="dim", highlight=False))
    except NotWhatWasPlanted as why:
        fail(PROCESS_FAILED, why)
    conclude(result, json)


@app.command()
def proximity(
    exp34: Annotated[Path, typer.Option(help="Folder with the six scenes of DP-3T's experiment 34.")],
    nist: Annotated[Path, typer.Option(help="Folder with NIST's recordings of two Raspberry Pis.")],
    write_model: Annotated[
        Path | None, typer.Option("--write-model", help="Write the model that nodes come with to this file, and end.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="How many times each private model is trained.")] = 3,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """How well two metres are told by radio: central, federated, and federated under privacy."""
    from simulations.benchmarks.proximity import (  # noqa: PLC0415  (imports torch)
        ProximitySettings,
        packaged_model,
        run_proximity,
    )
    from simulations.datasets.exp34 import BadExp34  # noqa: PLC0415
    from simulations.datasets.nist import BadNist  # noqa: PLC0415

    try:
        if write_model is not None:
            packaged_model(exp34).write(write_model)
            out.print(f"model written to {write_model}", highlight=False)
            raise typer.Exit
        settings = ProximitySettings(exp34, nist, draws=draws)
        result = run_proximity(settings, lambda what: err.print(what, style="dim", highlight=False))
    except (BadExp34, BadNist) as why:
        fail(BAD_INPUT, why)
    except OSError as why:
        fail(BAD_INPUT, f"{write_model}: {why.strerror}; choose another file")
    conclude(result, json)


@app.command()
def sensing(
    quick: Annotated[bool, typer.Option("--quick", help="Two and a half minutes instead of four.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """From a radio's frames to the store: frames a core takes, and what the sensing process needs while it listens."""
    from simulations.benchmarks.sensing import SensingSettings, run_sensing  # noqa: PLC0415
    from simulations.benchmarks.sensing_process import SensingWentWrong  # noqa: PLC0415

    settings = SensingSettings(frames=50_000, turns=3, seconds=15.0) if quick else SensingSettings()
    with tempfile.TemporaryDirectory(prefix="jaga-bench-") as folder:
        try:
            result = run_sensing(settings, Path(folder), lambda what: err.print(what, style="dim", highlight=False))
        except SensingWentWrong as why:
            fail(PROCESS_FAILED, f"the sensing process went wrong: {why}")
    conclude(result, json)


@app.command()
def engine(
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of a round, in the comparison.")] = 100,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each framework.")] = 5,
    most_nodes: Annotated[int, typer.Option(min=10, help="Nodes of the largest round of ours.")] = 10_000,
    peers: Annotated[
        Path | None, typer.Option(help="Python of an environment with pfl and Flower's simulation (`make peers`).")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Our simulation engine beside pfl, Flower's simulation, torch.func and a loop over Opacus."""
    from simulations.benchmarks.engine import EngineSettings, PeerFailed, run_engine  # noqa: PLC0415  (imports torch)

    standard = Path(".venv-peers/bin/python")
    settings = EngineSettings(nodes, turns, most_nodes, peers or (standard.absolute() if standard.exists() else None))
    with tempfile.TemporaryDirectory(prefix="jaga-bench-") as folder:
        try:
            result = run_engine(settings, Path(folder), lambda what: err.print(what, style="dim", highlight=False))
        except (PeerFailed, FileNotFoundError) as why:
            fail(PROCESS_FAILED, why)
    conclude(result, json)


@app.command()
def dpsgd(
    turns: Annotated[int, typer.Option(min=1, help="Turns of 40 steps of each way.")] = 25,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """What differential privacy costs a step of SGD: ours beside plain SGD and the ways of Opacus."""
    from simulations.benchmarks.dpsgd import run_dpsgd  # noqa: PLC0415  (imports torch)

    conclude(run_dpsgd(turns), json)


@app.command()
def accountants(
    sequences: Annotated[int, typer.Option(min=1, help="Random sequences of events.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the sequences.")] = 1,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """What the ledger charges, beside Opacus' accountants and dp-accounting's own."""
    from simulations.benchmarks.accountants import run_accountants  # noqa: PLC0415

    conclude(run_accountants(sequences, seed, lambda what: err.print(what, style="dim", highlight=False)), json)


@app.command("answer-time")
def answer_time(
    turns: Annotated[int, typer.Option(min=4, help="Answers from each store, held back and not.")] = 40,
    speed: Annotated[float, typer.Option(min=0.1, help="Of this machine over a Raspberry Pi Zero 2 W.")] = 20.0,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """What the time of a node's answer says of its records, held back and not."""
    from simulations.benchmarks.answer_time import (  # noqa: PLC0415  (imports torch)
        AnswerTimeSettings,
        WentWrong,
        run_answer_time,
    )

    with tempfile.TemporaryDirectory(prefix="jaga-bench-") as folder:
        try:
            result = run_answer_time(
                AnswerTimeSettings(turns, speed), Path(folder), lambda what: err.print(what, style="dim")
            )
        except WentWrong as why:
            fail(PROCESS_FAILED, why)
    conclude(result, json)


@app.command("sum")
def secure_sum(
    nodes: Annotated[int, typer.Option(min=2, help="Nodes that leader and helper sum.")] = 10_000,
    params: Annotated[int, typer.Option(min=1, help="Parameters of a model.")] = 1_000_000,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """What a secure sum costs a node, the wire, the leader and the helper."""
    from simulations.benchmarks.secure_sum import SumSize, run_sum  # noqa: PLC0415

    conclude(run_sum(SumSize(nodes, params), lambda what: err.print(what, style="dim", highlight=False)), json)


def conclude(result: Outcome, json: Path | None) -> NoReturn:
    """Show the figures, write them down where wanted, and end with the verdict as status."""
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
