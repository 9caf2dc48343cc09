"""Who was near whom, worked out on this node and shown on its screen; nothing of it is stored or sent."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from edge.commands.terminal import ConfigFile, explained, fail, ok, out
from edge.config import NodeConfig
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.site import SiteModes
from edge.store.slots import DAY_S

if TYPE_CHECKING:
    from edge.tracing.encounters import Encounters

WRONG_USAGE = 2
NAMES = {"zone": "zone / zona", "room": "room / ruangan", "person": "person / orang"}


def encounters(
    config: ConfigFile,
    day: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD (UTC), or a day's number; default: the last one. / Hari.")
    ] = None,
    at_least: Annotated[float, typer.Option(help="Show pairs from so many minutes on. / Menit paling sedikit.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object. / Satu objek JSON.")] = False,
) -> None:
    """Who was near whom on one day, and what that can and cannot say. / Siapa dekat dengan siapa pada suatu hari."""

    def show() -> None:
        # numpy is for this command alone
        from edge.tracing.calibration import Calibration  # noqa: PLC0415
        from edge.tracing.site import WORDS, SiteEncounters  # noqa: PLC0415

        loaded = NodeConfig.load(config)
        store = Database(loaded.store.path, loaded.store_key()).connect()
        site = SiteEncounters(store, loaded, Calibration.of(store, loaded.sensing.adapters))
        days = site.days()
        wanted = (days[-1] if days else int(time.time() // DAY_S)) if day is None else _day(day)
        found = site.on(wanted)
        store.close()
        if as_json:
            said = [_said(one, at_least, WORDS[one.mode]) for one in found]
            sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
            return
        for one in found:
            _print(one, at_least, WORDS[one.mode])

    explained(show)


def mode_line(connection: Connection, config: NodeConfig) -> None:
    """One line for `jaga-node doctor`: how this node is used, since when."""
    known = SiteModes(connection).stretches()
    since = known[-1].from_s if known else float("-inf")
    when = f", since / sejak {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC" if since > 0 else ""
    note = "" if not known or known[-1].mode == config.site.mode else " (from its next start / mulai saat dinyalakan)"
    ok("site mode / mode tempat", f"{NAMES[config.site.mode]}{note or when}")


def _day(given: str) -> int:
    if given.isdecimal():
        return int(given)
    try:
        return int(datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() // DAY_S)
    except ValueError:
        fail(WRONG_USAGE, f"{given!r} is no day: write it as 2026-03-31 / tulis sebagai 2026-03-31")


def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(day * DAY_S, UTC):%Y-%m-%d}"


def _who(label: str) -> str:
    return escape(label) or "wearer / pemakai"


def _print(found: Encounters, at_least: float, words: tuple[str, str]) -> None:
    out.print(f"[bold]{_date(found.day)}, {NAMES[found.mode]}[/]")
    for line in words:
        out.print(line, highlight=False)
    table = Table("who / siapa", "with / dengan", "minutes / menit", "within 2 m / dalam 2 m")
    for pair in found.pairs:
        if pair.minutes >= at_least:
            likely = "-" if pair.probability is None else f"{pair.probability:.0%}"
            table.add_row(_who(pair.a), _who(pair.b), f"{pair.minutes:.1f}", likely)
    out.print(table)
    if found.strangers:
        others = Table("who / siapa", "unknown tokens / token asing", "minutes / menit", "longest / terlama")
        for one in found.strangers:
            others.add_row(_who(one.subject), str(one.tokens), f"{one.minutes:.1f}", f"{one.longest_minutes:.1f}")
        out.print(others)
        out.print(
            "An unknown token is a phone for ten minutes; nothing links one to the next. / Token asing adalah satu "
            "ponsel selama sepuluh menit; tidak ada yang menghubungkannya."
        )
    left = found.left_out
    if left.relays or left.crowded or left.pair_minutes:
        out.print(
            f"Left out / tidak dihitung: {left.relays} in two places at once / di dua tempat sekaligus, "
            f"{left.crowded} in too large crowds / dalam kerumunan, {left.pair_minutes:.0f} minutes of rare pairs / "
            "menit pasangan jarang."
        )


def _said(found: Encounters, at_least: float, words: tuple[str, str]) -> dict[str, object]:
    said: dict[str, object] = msgspec.to_builtins(found)
    said["pairs"] = [msgspec.to_builtins(pair) for pair in found.pairs if pair.minutes >= at_least]
    return {"date": _date(found.day), "words": {"en": words[0], "id": words[1]}, **said}
