"""`privacy`: what this node's records have cost, what left it, what it holds, and whether its books are whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Table
from typer.core import TyperGroup

from edge.commands.terminal import TAMPERED, ConfigFile, explained, fail, ok, out
from edge.config import NodeConfig
from edge.store.anchor import Anchor, RolledBack
from edge.store.books import BookFault, Books, Note
from edge.store.database import Database
from edge.store.errors import CorruptStore
from edge.store.trusted_clock import TrustedClock
from privacy.accounting.events import DAY
from privacy.accounting.guarantees import Guarantee, of_ledger, rounded_up
from privacy.accounting.ledger import PrivacyLedger
from privacy.catalogue.record import record as record_of_processing
from privacy.catalogue.use import Use
from privacy.journal import BrokenChain

HELP = """What this node's records have cost, and everything that left it. / Anggaran privasi dan catatan keluar.

`jaga-node privacy NODE.toml` is short for `jaga-node privacy show NODE.toml`.
"""


class ShowByDefault(TyperGroup):
    """`privacy NODE.toml` means `privacy show NODE.toml`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


privacy = typer.Typer(name="privacy", help=HELP, cls=ShowByDefault, no_args_is_help=True)


@privacy.command()
def show(config: ConfigFile) -> None:
    """What was spent, and all that left. / Anggaran yang terpakai, dan semua yang keluar."""
    _with_books(config, _show)


@privacy.command()
def record(
    config: Annotated[
        Path | None, typer.Argument(help="Not needed: the record is the same for every node. / Tidak wajib.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Write it to this file, as Markdown. / Tulis ke berkas.")] = None,
) -> None:
    """The record of processing activities, as the law asks for. / Catatan kegiatan pemrosesan menurut UU PDP."""
    del config
    text = record_of_processing()
    if to is None:
        out.print(Markdown(text))
        return
    explained(lambda: _write(to, text))


@privacy.command()
def verify(
    config: ConfigFile,
    note: Annotated[
        Path | None, typer.Option(help="Note where the books end in this file; keep it elsewhere. / Simpan catatan.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Hold the books against an earlier note. / Bandingkan dengan catatan lama.")
    ] = None,
) -> None:
    """Whether the store and its books are whole, agree, and are the newest. / Memeriksa keutuhan semua buku."""

    def check(books: Books, _rules: Any) -> None:
        heads = books.verify()
        Anchor(NodeConfig.load(config).store.anchor).check(books.connection, make=False)
        if against is not None:
            Note.read(against).check(books.connection)
        for name, (row, digest) in heads.items():
            ok(f"{name} / buku utuh", f"{row} rows, {digest.hex()[:16]}…")
        if note is not None:
            Note(heads).write(note)
            ok("noted / dicatat", str(note))

    def whole() -> None:
        loaded = NodeConfig.load(config)
        try:
            Database(loaded.store.path, loaded.store_key()).check()
        except CorruptStore as why:
            fail(TAMPERED, why)
        ok("store / basis data", "every page is as it was written / semua halaman utuh")

    explained(whole)
    _with_books(config, check)


def _with_books(config: Path, action: Callable[[Books, Any], None]) -> None:
    def opened() -> None:
        loaded = NodeConfig.load(config)
        rules = loaded.privacy
        connection = Database(loaded.store.path, loaded.store_key()).connect()
        try:
            ledger = PrivacyLedger(connection, rules.budget(), TrustedClock(connection).now)
            action(Books(connection, ledger), rules)
        except (BrokenChain, BookFault, RolledBack) as why:
            fail(TAMPERED, why)
        finally:
            connection.close()

    explained(opened)


def _show(books: Books, rules: Any) -> None:
    books.verify()
    ledger = books.ledger
    entries = {entry.number: Use.decode(entry.purpose) for entry in ledger.entries()}
    ok("ledger and audit log are whole / buku privasi utuh", f"{len(entries)} entries")
    for unit, spent in (ledger.by_unit() or {"": 0.0}).items():
        limit = ledger.budget.of(unit)
        out.print(
            f"epsilon spent{f' for one {unit}' if unit else ''} / terpakai: [bold]{rounded_up(spent)}[/] of "
            f"{limit.epsilon:g} at delta {limit.delta:g}, over {rules.record_lifetime_days:g} days"
        )
    _show_guarantees(ledger)
    table = Table("row", "when / waktu (UTC)", "to / kepada", "bytes", "ledger", "what / isi")
    for row in books.audit.rows():
        uses = {use.what for number in row.entries if (use := entries.get(number)) is not None}
        paid = ", ".join(map(str, row.entries)) or "-"
        when = f"{datetime.fromtimestamp(row.at, UTC):%Y-%m-%d %H:%M:%S}"
        what = f"{row.note} ({', '.join(sorted(uses))})" if uses else row.note
        table.add_row(str(row.row), when, row.recipient, f"{row.size_bytes:,}", paid, what)
    out.print(table)


def _show_guarantees(ledger: PrivacyLedger) -> None:
    """What all that left may tell of whom, as a table; figures are rounded up."""
    table = Table("of whom / tentang siapa", "epsilon", "there or not / ada atau tidak", "limit / batas")
    for row in of_ledger(ledger):
        limit = "-" if row.limit is None else f"{row.limit:g}"
        table.add_row(_of_whom(row), rounded_up(row.epsilon), rounded_up(row.added), limit)
    out.print(table)
    out.print(
        "Upper bounds, if requests did not depend on earlier answers; if they did, the limits hold.\n"
        "Batas atas, bila permintaan tidak bergantung pada jawaban sebelumnya; bila ya, batas anggaran berlaku.",
        highlight=False,
    )


def _of_whom(row: Guarantee) -> str:
    if row.unit != DAY:
        return f"one {row.unit} / satu {row.unit}" if row.unit else "any unit / unit apa pun"
    heard = f", heard by {row.nodes} nodes / terdengar {row.nodes} node" if row.nodes > 1 else ""
    if row.days == 1:
        return f"a person's day / satu hari seseorang{heard}"
    return f"a person, {row.days} days in a row / seseorang, {row.days} hari berturut-turut{heard}"


def _write(to: Path, text: str) -> None:
    to.write_text(text, "utf-8")
    ok("written / ditulis", str(to))
