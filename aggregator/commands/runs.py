"""`run` and `runs`: learning, and what came of it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich import box
from rich.table import Table

from aggregator.claim import RunClaim
from aggregator.commands.revocations import warn_if_it_runs_out
from aggregator.commands.terminal import DEFAULT_CONFIG, ConfigFile, err, explained, moment, out
from aggregator.config import CentralConfig, LoadedRun, RunFile, SecureSumTable
from aggregator.coordinator import Coordinator
from aggregator.events import EventKind, RoundEvent
from aggregator.grid import MqttGrid
from aggregator.memory import return_large_blocks
from aggregator.records.database import Records
from aggregator.records.history import History, PartEntry
from aggregator.records.models import Models
from aggregator.records.nodes import Nodes
from aggregator.records.revocations import stored_revocations
from aggregator.records.runs import Journal
from aggregator.records.schema import RevocationListRow
from aggregator.records.sums import SumBook
from aggregator.strategies.registry import make, parameters
from aggregator.strategies.secure_sum import SecureSum, SumSettings
from privacy.boundary.broker import BrokerUrl
from privacy.boundary.flower import quieten
from privacy.identity.authority import Identity
from privacy.secure_sum.exchange import Part

log = structlog.get_logger()

DAY_S = 86400.0
CONNECT_S = 30.0

runs = typer.Typer(help="Runs, past and present. / Semua pelatihan.", no_args_is_help=True)


class Events(StrEnum):
    """What a run writes to standard output while it goes on."""

    TEXT = "text"
    JSON = "json"


def run(
    run_file: Annotated[Path, typer.Argument(metavar="RUN.toml", help="The run file. / Berkas pelatihan.")],
    events: Annotated[Events, typer.Option(help="Progress as text, or as one JSON object a line.")] = Events.TEXT,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Learn, round after round; a run that was interrupted goes on where it was. / Menjalankan atau melanjutkan.

    Waits for nodes and says for whom; gives up at the run file's deadline, and can then be started again.
    """
    with explained():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return_large_blocks()
        quieten()
        loaded = LoadedRun.read(run_file)
        central = CentralConfig.load(config)
        warn_if_it_runs_out(central)
        records = Records(central.records)
        try:
            _run(loaded, central, records, _tell_json if events is Events.JSON else _tell_text)
        finally:
            records.close()


def _run(loaded: LoadedRun, central: CentralConfig, records: Records, tell: Callable[[RoundEvent], None]) -> None:
    file, url = loaded.file, BrokerUrl.parse(central.broker)
    identity = _without_revoked(Identity.load(central.credentials), records)
    run_id = loaded.run_id(identity.certificate.federation)
    strategy = make(file.strategy.name, _options(file), streaming=file.strategy.streaming, rounds=file.run.rounds)
    model = Models(records).find(file.run.model).sha256
    revocations = stored_revocations(identity.anchor, records, RevocationListRow)
    credentials = central.credentials
    with RunClaim(
        identity, url, run_id, credentials=credentials, connect_s=CONNECT_S, revocations=revocations
    ) as claim:
        journal = Journal.take(
            records,
            run_id,
            name=file.run.name,
            toml=loaded.text,
            model=model,
            holder=claim.instance,
            keep_models=file.run.keep_models == "all",
        )
        grid = MqttGrid(
            identity,
            url,
            run_id,
            credentials=credentials,
            encoding=file.wire.encoding,
            ttl_s=file.ttl_s,
            revocations=revocations,
            revocation_file=central.revocations,
        )
        if (table := file.secure_sum) is not None:
            line = grid.helper_line(table.helper, table.deadline_s)
            strategy = SecureSum(strategy, _sum_settings(table, file.ttl_s), line, SumBook(journal))
        with grid:
            grid.wait_connected(CONNECT_S)
            Coordinator(file, grid, strategy, journal, still_ours=claim.check, on_event=tell).run()


def _sum_settings(table: SecureSumTable, ttl_s: float) -> SumSettings:
    """Seeds count a day longer than tasks live and the helper is waited for, so that a stopped run can go on."""
    return SumSettings(**table.model_dump(exclude={"deadline_s"}), lifetime_s=ttl_s + table.deadline_s + DAY_S)


def _without_revoked(identity: Identity, records: Records) -> Identity:
    return replace(identity, anchor=replace(identity.anchor, revoked=Nodes(records).revoked_serials()))


def _options(file: RunFile) -> dict[str, Any]:
    """The strategy's options: what the run file says of the cohort, in Flower's words, and its own options above."""
    cohort = file.cohort
    wanted: dict[str, Any] = {
        "fraction_train": cohort.fraction,
        "fraction_evaluate": cohort.fraction,
        "min_train_nodes": cohort.min_nodes,
        "min_evaluate_nodes": cohort.min_nodes,
        "min_available_nodes": cohort.min_nodes,
    }
    taken = parameters(file.strategy.name)
    return {**{name: value for name, value in wanted.items() if name in taken}, **file.strategy.options}


def _tell_json(event: RoundEvent) -> None:
    sys.stdout.write(event.as_json() + "\n")
    sys.stdout.flush()


def _tell_text(event: RoundEvent) -> None:
    details = event.details
    if event.kind is EventKind.RUN_STARTED:
        how = f"goes on with round {details['begins_with_round']}" if details["resumed"] else "begins"
        out.print(f"Run [bold]{event.run}[/] {how} of {details['rounds']} rounds.", highlight=False)
    elif event.kind is EventKind.WAITING:
        missing = ", ".join(details["missing"]) or ", ".join(details.get("unanswered", ())) or "nodes"
        left = "" if details["seconds_left"] is None else f", {details['seconds_left']:.0f} s left"
        err.print(f"[yellow]round {event.round} waits for {missing}{left} / menunggu[/]", highlight=False)
    elif event.kind in (EventKind.TRAINING_REPLY, EventKind.EVALUATION_REPLY) and details["refusal"]:
        err.print(f"[yellow]round {event.round}: {details['node']}: {details['refusal']}[/]", highlight=False)
    elif event.kind is EventKind.GROUP_LOST:
        because = ", ".join(details["because_of"])
        err.print(
            f"[yellow]round {event.round}: a group of {len(details['nodes'])} nodes is lost / kelompok hilang: "
            f"{details['refusal']}{': ' + because if because else ''}[/]",
            highlight=False,
        )
    elif event.kind is EventKind.ROUND_FINISHED:
        answered = [part for part in details["nodes"]["train"] if part["state"] == "answered"]
        epsilon = max((part["epsilon"] or 0.0 for part in answered), default=0.0)
        spent = f", epsilon at most {epsilon:.2f}" if epsilon else ""
        out.print(
            f"[green]✓[/] round {event.round}: {len(answered)} of {len(details['nodes']['train'])} nodes, "
            f"{details['seconds']:.1f} s{spent} {_metrics(details['train'])} {_metrics(details['evaluate'])}",
            highlight=False,
        )
    elif event.kind is EventKind.RUN_FINISHED:
        out.print(f"Run [bold]{event.run}[/] is finished; its model is {details['model'][:16]}…", highlight=False)


@runs.command("list")
def list_runs(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """All runs, newest first. / Daftar semua pelatihan."""
    with explained():
        records = Records(CentralConfig.load(config).records)
        table = Table("run", "state / status", "rounds / ronde", "started (UTC) / mulai", "finished / selesai", "note")
        for entry in History(records).runs():
            table.add_row(
                entry.name,
                entry.state.value,
                str(entry.rounds_finished),
                moment(entry.started_at),
                moment(entry.finished_at),
                entry.note,
            )
        records.close()
        out.print(table)


@runs.command()
def show(
    name: Annotated[str, typer.Argument(help="The run's name. / Nama pelatihan.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """One run, with everybody's part in every round. / Rincian satu pelatihan."""
    with explained():
        records = Records(CentralConfig.load(config).records)
        history = History(records)
        entry = history.run(name)
        out.print(f"[bold]{entry.name}[/]: {entry.state.value} {entry.note}", highlight=False)
        for summary in history.rounds(entry.run_id):
            took = "" if summary.finished_at is None else f", {summary.finished_at - summary.started_at:.1f} s"
            out.print(f"round {summary.number}: {summary.phase.value}{took}", highlight=False)
            for part, metrics in ((Part.TRAIN, summary.train_metrics), (Part.EVALUATE, summary.evaluate_metrics)):
                everybody = [one for one in summary.parts if one.part is part]
                if everybody:
                    out.print(f"  {part.value} {_metrics(metrics)}", highlight=False)
                    out.print(_parts(everybody))
        records.close()


def _parts(parts: list[PartEntry]) -> Table:
    table = Table("node", "state / status", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 1))
    for column in ("s", "down, B", "up, B", "epsilon"):
        table.add_column(column, justify="right")
    for part in parts:
        table.add_row(
            part.node,
            part.refusal or part.state.value,
            "-" if part.seconds is None else f"{part.seconds:.1f}",
            f"{part.bytes_down:,}",
            f"{part.bytes_up:,}",
            "-" if part.epsilon is None else f"{part.epsilon:.2f}",
        )
    return table


def _metrics(metrics: Any) -> str:
    return " ".join(f"{key}={value:.4g}" for key, value in (metrics or {}).items() if isinstance(value, int | float))
