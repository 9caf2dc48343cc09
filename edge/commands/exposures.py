"""Who was near a case, for staff at the node. / Siapa yang pernah dekat dengan kasus, untuk petugas di node."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from edge.commands.terminal import ConfigFile, explained, out
from edge.config import DAY_S, NodeConfig
from edge.store.database import Database
from edge.store.exposures import SELF, Exposures, StoredExposure


def exposures(
    config: ConfigFile,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line. / Satu objek JSON per baris.")
    ] = False,
) -> None:
    """List exposures; they never leave this node but to the site's own server. / Menampilkan paparan."""

    def show() -> None:
        loaded = NodeConfig.load(config)
        store = Database(loaded.store.path, loaded.store_key()).connect()
        found = Exposures(store).stored()
        if as_json:
            for one in found:
                sys.stdout.write(msgspec.json.encode(_said(one)).decode() + "\n")
            return
        if not found:
            out.print("No exposures. / Tidak ada paparan.")
            return
        zone = "wearer / pemakai" if loaded.site.mode == "person" else "zone / zona"
        table = Table(
            "day / hari",
            "who / siapa",
            "room / ruang",
            "minutes / menit",
            "score / skor",
            "within 2 m / dalam 2 m",
            "alert / peringatan",
            "seen by / dilihat oleh",
        )
        for one in found:
            exposure = one.exposure
            alert = "-" if one.alerted_at is None else f"[bold red]{_moment(one.alerted_at)}[/]"
            table.add_row(
                _day(exposure.day),
                zone if exposure.subject == SELF else exposure.subject,
                exposure.room or "-",
                f"{exposure.minutes:.0f}",
                f"{exposure.score:.0f}",
                f"{exposure.closeness:.0%}",
                alert,
                one.seen_by or "-",
            )
        out.print(table)
        out.print(
            f"Alert from {loaded.tracing.alert_minutes:g} weighted minutes a day on. / "
            f"Peringatan mulai {loaded.tracing.alert_minutes:g} menit berbobot per hari."
        )

    explained(show)


def _said(one: StoredExposure) -> dict[str, object]:
    exposure = one.exposure
    return {
        "day": _day(exposure.day),
        "subject": exposure.subject,
        "mode": exposure.mode,
        "room": exposure.room,
        "minutes": round(exposure.minutes, 2),
        "score": round(exposure.score, 2),
        "closeness": round(exposure.closeness, 3),
        "alerted_at": one.alerted_at,
        "delivered_at": one.delivered_at,
        "seen_by": one.seen_by,
    }


def _day(day: int) -> str:
    return f"{datetime.fromtimestamp(day * DAY_S, UTC):%Y-%m-%d}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
