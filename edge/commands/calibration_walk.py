"""The walk of a calibration on the screen: where to stand, for how long, and what came of it.

Apart from the command itself, for it needs numpy, which a running node does without.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from edge.commands.terminal import fail, ok, out
from edge.config import BadConfig, NodeConfig
from edge.proximity.calibration import Corrections
from edge.proximity.closeness import NEAR_M, Closeness
from edge.proximity.ears import Ear, LiveEar, NothingLeft, RecordedEar
from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.proximity.walk import DISTANCES_M, LEAST_FRAMES, KnownTag, TooFewSteps, corrections_of, finished, hold_still
from edge.pulse import PULSE_S
from edge.sensing.scanner import Trouble
from edge.sensing.scanners.errors import RadioError
from edge.sensing.settings import ScannerSection
from edge.store.calibration import Calibrations, StoredCorrections
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.health import Health
from edge.store.slots import WINDOW_S
from edge.store.tags import Tags
from edge.store.trusted_clock import TrustedClock

WRONG_USAGE = 2
RADIOS = ("bluepy", "bleak")


def walk(loaded: NodeConfig, tag: str | None, adapter: str | None, seconds: float) -> None:
    """Choose, walk, save, and set the corrections.

    Args:
        seconds: how long to stand still; rounded up to whole windows, by which frames are counted.

    Raises:
        BadConfig: there is no scanner, or it cannot be opened.
        StoreError: see `Database.connect`.
    """
    section = _section(loaded)
    seconds = WINDOW_S * math.ceil(seconds / WINDOW_S)
    adapters = getattr(section, "adapters", ("recording",))
    store = Database(loaded.store.path, loaded.store_key()).connect()
    try:
        chosen = _choose("adapter / adaptor", adapters, adapter)
        known = {one.label: one.secret for one in Tags(store)}
        if not known:
            fail(WRONG_USAGE, "no tag is enrolled: `jaga-node tags add` first / belum ada tag yang didaftarkan")
        label = _choose("tag", tuple(known), tag)
        if section.__struct_config__.tag in RADIOS:
            _ask_to_stop(store)
        with _opened(section) as ear:
            started = time.time()
            walked = KnownTag(label, known[label])
            steps = list(_steps(ear, walked, adapters.index(chosen), seconds))
        session = finished(chosen, walked, started, steps, NEAR_M)
        Calibrations(store).add(session, TrustedClock(store).look())
        _conclude(store, session)
    except (NothingLeft, TooFewSteps, RadioError) as why:
        fail(WRONG_USAGE, why)
    finally:
        store.close()


def anew(loaded: NodeConfig) -> None:
    """Set the corrections that the stored walks give, without walking."""
    store = Database(loaded.store.path, loaded.store_key()).connect()
    try:
        _conclude(store, None)
    finally:
        store.close()


def _section(loaded: NodeConfig) -> ScannerSection:
    scanner = loaded.sensing.scanner
    if scanner is None:
        raise BadConfig("no scanner is configured: add a [sensing.scanner] table / belum ada tabel [sensing.scanner]")
    section: ScannerSection = msgspec.convert(scanner.model_dump(mode="json"), ScannerSection)
    return section


@contextmanager
def _opened(section: ScannerSection) -> Iterator[Ear]:
    """The node's own scanner: a radio goes on while nobody listens, a recording waits."""

    def trouble(what: Trouble) -> None:
        out.print(f"[yellow]{escape(what.adapter)}[/]: {escape(what.reason)}", highlight=False)

    with ExitStack() as closing:
        try:
            if section.__struct_config__.tag in RADIOS:
                yield closing.enter_context(LiveEar(lambda sleep: section.open(None, sleep, trouble)))
            else:
                yield RecordedEar(section.open(None, time.sleep, trouble))
        except (NothingLeft, TooFewSteps):
            raise
        except ValueError as why:
            raise BadConfig(f"[sensing.scanner]: {why}") from why


def _ask_to_stop(store: Connection) -> None:
    """Two programs cannot scan with one adapter. The node's last sign of life may be a minute old."""
    node = Health(store).parts().get("node")
    if node is None or time.time() - node.at > 2 * PULSE_S:
        return
    out.print(
        "[yellow]The node seems to run.[/] It listens with this adapter: stop it first, with `sudo systemctl stop "
        "jaga-node`, and start it again afterwards.\n"
        "[yellow]Node tampaknya sedang berjalan.[/] Hentikan dulu dengan `sudo systemctl stop jaga-node`, dan jalankan "
        "lagi sesudahnya."
    )
    if not typer.confirm("Is it stopped? / Sudah dihentikan?"):
        raise typer.Exit(WRONG_USAGE)


def _choose(what: str, among: tuple[str, ...], given: str | None) -> str:
    """One of several, by name or number; without a question where there is only one."""
    if given is not None:
        if given not in among:
            fail(
                WRONG_USAGE, f"{what} {given!r} is not one of {', '.join(among)}: choose one of them / pilih salah satu"
            )
        return given
    if len(among) == 1:
        return among[0]
    for number, name in enumerate(among, 1):
        out.print(f"  {number}  {escape(name)}", highlight=False)
    while True:
        answer = str(typer.prompt(f"Which {what}? / Pilih {what}")).strip()
        if answer in among:
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(among):
            return among[int(answer) - 1]
        out.print(f"Type a number from 1 to {len(among)}. / Ketik angka 1 sampai {len(among)}.")


def _steps(ear: Ear, tag: KnownTag, receiver: int, seconds: float) -> Iterator[Step]:
    out.print(
        f"Hang the tag [bold]{escape(tag.label)}[/] where people will wear it, and measure from the adapter. Enter "
        f"starts each step; then stand still for {seconds:g} seconds. s and Enter leaves a step out.\n"
        f"Gantungkan tag [bold]{escape(tag.label)}[/] seperti akan dipakai, dan ukur jarak dari adaptor. Enter memulai "
        f"tiap langkah; lalu berdiri diam {seconds:g} detik. s lalu Enter melewati satu langkah.",
        highlight=False,
    )
    places = [(distance, blocked) for blocked in (False, True) for distance in DISTANCES_M]
    for number, (distance, blocked) in enumerate(places, 1):
        english, indonesian = (
            ("your back to the adapter, the tag in front of you", "membelakangi adaptor, tag di depan badan")
            if blocked
            else ("facing the adapter, nothing between", "menghadap adaptor, tanpa penghalang")
        )
        out.print(
            f"\n[bold]{number}/{len(places)}: {distance:g} m[/], {english} / {indonesian}",
            highlight=False,
        )
        while typer.prompt("Enter", default="", show_default=False).strip().lower() != "s":
            stats = _held(ear, tag, receiver, seconds)
            frames = 0 if stats is None else stats.frames
            if stats is not None and frames >= LEAST_FRAMES:
                ok(f"{distance:g} m", f"{frames} frames / bingkai, {stats.rssi_mean:.1f} dBm ± {stats.rssi_std:.1f} dB")
                yield Step(distance, blocked, stats)
                break
            out.print(
                f"[yellow]{frames} frames, too few: {LEAST_FRAMES} are needed.[/] Is the tag on? Once more, or "
                f"s to leave it out.\n[yellow]{frames} bingkai, terlalu sedikit: perlu {LEAST_FRAMES}.[/] Apakah tag "
                "menyala? Ulangi, atau s untuk melewati.",
                highlight=False,
            )


def _held(ear: Ear, tag: KnownTag, receiver: int, seconds: float) -> Stats | None:
    with out.status("…") as status:

        def told(passed: float, frames: int, mean: float) -> None:
            level = "– dBm" if frames == 0 else f"{mean:.1f} dBm"
            status.update(f"{max(seconds - passed, 0):.0f} s   {frames} frames / bingkai   {level}")

        return hold_still(ear, tag, receiver, seconds, told)


def _conclude(store: Connection, session: Session | None) -> None:
    """Set the corrections that all stored walks give, and say what they change."""
    sessions = Calibrations(store).sessions()
    if not sessions:
        fail(WRONG_USAGE, "no walk is stored: run without --again / belum ada kalibrasi tersimpan")
    model = Closeness.default()
    found = corrections_of(sessions, model.curve)
    stored = StoredCorrections(store)
    shown = sessions[-1] if session is None else session
    before = stored.of(shown.adapter, shown.transmitter)
    best: dict[str, float] = {}
    for one in sessions:
        best[one.adapter] = max(best.get(one.adapter, 1.0), one.frames_per_window)
    stored.set(found.receivers, found.transmitters, time.time(), best)
    _show(shown, found, before, model)
    for kind, offsets in (("adapter / adaptor", found.receivers), ("tag", found.transmitters)):
        for name, offset in offsets.items():
            ok(f"correction / koreksi, {kind} {escape(name)}", f"{offset:+.1f} dB ({len(sessions)} walks / kalibrasi)")


def _show(session: Session, found: Corrections, before: float | None, model: Closeness) -> None:
    added = found.of(session.adapter, session.transmitter)
    old = "–" if before is None else f"{before:+.1f} dB"
    table = Table(
        "m",
        "posture / posisi",
        "frames / bingkai",
        "dBm",
        f"≤ {NEAR_M:g} m, before / sebelum ({old})",
        f"≤ {NEAR_M:g} m, now / sekarang ({added:+.1f} dB)",
    )
    rate = max(session.frames_per_window, 1.0)
    for step in session.steps:
        then, now = (
            model.probability(step.stats, correction_db=db, frames_per_window=rate) for db in (before or 0.0, added)
        )
        posture = "blocked / terhalang" if step.blocked else "clear / terbuka"
        level = f"{step.stats.rssi_mean:.1f}"
        table.add_row(f"{step.distance_m:g}", posture, str(step.stats.frames), level, f"{then:.0%}", f"{now:.0%}")
    out.print(table)
