"""What a demo shows in the terminal: what is going on, then one table and one verdict."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from aggregator.events import EventKind, RoundEvent
from simulations.demo.run import BrokerNote, DemoReport
from simulations.demo.scene import Scene
from simulations.demo.verdict import RoundFigures
from simulations.handover import RecommendedPlan

MOST_VIOLATIONS = 10


class Screen:
    """Live progress on a terminal; plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._sensing = self._progress.add_task("nodes log proximity", total=None, visible=False)
        self._rounds = self._progress.add_task("rounds", total=None, visible=False)
        self._replies = self._progress.add_task("  updates of this round", total=None, visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def scene(self, scene: Scene, broker: BrokerNote, plan: RecommendedPlan) -> None:
        federation = scene.federation
        days, training = len(federation.open_days), federation.training_days
        self._console.print(
            f"[bold]{federation.name}[/]: {len(federation.zones)} nodes ({', '.join(federation.zones)}), "
            f"{len(scene.people)} people, {days} days: {training} to learn from, {days - training} held out",
            highlight=False,
        )
        self._console.print(
            f"DP-SGD on each node: noise multiplier {plan.plan.noise_multiplier:.2f} for one {plan.unit.name} of a "
            f"node's log, clipping at {plan.plan.clip_norm:g}",
            highlight=False,
        )
        self._console.print(f"broker: [bold]{broker.kind}[/] at {broker.address}", highlight=False)
        for caveat in broker.caveats:
            self._console.print(f"  [yellow]! {caveat}[/]", highlight=False)

    def step(self, what: str) -> None:
        self._console.print(f"[dim]… {what}[/]", highlight=False)

    def sensing(self, done: int, of: int) -> None:
        self._progress.update(self._sensing, total=of, completed=done, visible=True)
        if done == of:
            self._console.print(f"[dim]… {of} nodes have logged their days into encrypted databases[/]")

    def training(self, event: RoundEvent) -> None:
        details = event.details
        if event.kind is EventKind.RUN_STARTED:
            self._progress.update(self._rounds, total=details["rounds"], completed=event.round, visible=True)
        elif event.kind is EventKind.WAITING:
            if details["missing"]:
                names, left_s = ", ".join(details["missing"]), details["seconds_left"]
                self._console.print(
                    f"[yellow]… the centre waits {left_s:.0f} s at most for {names}[/]", highlight=False
                )
        elif event.kind is EventKind.TRAINING_PLANNED:
            self._progress.reset(self._replies, total=len(details.get("nodes", [])) or None, visible=True)
        elif event.kind is EventKind.TRAINING_REPLY:
            self._progress.advance(self._replies)
        elif event.kind is EventKind.ROUND_FINISHED:
            self._progress.update(self._rounds, completed=event.round)
            if not self._console.is_terminal:
                self._console.print(f"… round {event.round} finished", highlight=False)


def show(report: DemoReport, console: Console) -> None:
    """The table and the verdict."""
    console.print(rounds_table(report.rounds))
    console.print(verdict_panel(report))


def rounds_table(rounds: tuple[RoundFigures, ...]) -> Table:
    caption = (
        "loss, error (minutes): of the round's model, on held-out later days\n"
        "reported: of the model before the round, noised by the nodes (± noise)\n"
        "epsilon: mean of the nodes, all that a secure sum shows; down, up: bytes, all nodes"
    )
    table = Table(title="Rounds", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for column in ("round", "nodes", "loss", "error", "reported", "epsilon", "down", "up", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rounds:
        reported = f"{row.reported_error_minutes:.1f} ± {row.reported_error_std:.1f}"
        table.add_row(
            str(row.round),
            f"{row.participants}/{row.asked}",
            f"{row.loss:.4f}",
            f"{row.error_minutes:.2f}",
            reported,
            f"{row.epsilon:.2f}",
            f"{row.bytes_down:,}",
            f"{row.bytes_up:,}",
            f"{row.seconds:.2f}",
        )
    return table


def verdict_panel(report: DemoReport) -> Panel:
    verdict = report.verdict
    errors = Table.grid(padding=(0, 2))
    for name, value in (
        ("persistence: the next half hour is as the last", verdict.persistence),
        ("public start model, which has seen nobody", verdict.start),
        (f"federated, private (epsilon {verdict.epsilon:.2f})", verdict.federated),
        ("trained centrally, without privacy", verdict.central),
    ):
        errors.add_row(name, Text(f"{value:.2f} min", justify="right"))
    lines: list[RenderableType] = [
        Text("Mean absolute error a half hour and node, on later days that nobody learnt from", style="bold"),
        errors,
        Text(f"The private model goes {verdict.gap_closed:.0%} of the way from persistence to central training."),
        Text(f"{report.sightings:,} sightings stayed in the nodes' encrypted databases."),
        Text(f"Broker: {report.broker.kind}."),
        *(Text(f"  ! {caveat}", style="yellow") for caveat in report.broker.caveats),
        Text(""),
    ]
    for check in verdict.checks:
        mark, style = ("✓", "green") if check.held else ("✗", "bold red")
        lines.append(Text.assemble((f"{mark} {check.claim}", style), f"\n  {check.detail}"))
    for violation in report.wire.violations[:MOST_VIOLATIONS]:
        lines.append(Text(f"  {violation}", style="red"))
    title = "Verdict: it held" if verdict.held else "Verdict: it did NOT hold"
    return Panel(Group(*lines), title=title, border_style="green" if verdict.held else "red")
