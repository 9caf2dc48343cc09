"""`jaga-node`: what field staff type on a Raspberry Pi."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from edge.config import BadConfig, NodeConfig
from edge.sensing.contacts import BadContactFile
from edge.store.database import Database
from edge.store.errors import StoreError
from privacy.boundary.wire import BadBrokerUrl, BrokerUrl, Connection, NotConnected, tls_context
from privacy.identity.authority import Identity, request
from privacy.identity.certificates import UntrustedCertificate
from privacy.identity.keys import BadKey, PrivateKeys, write_private
from privacy.logs import LogFormat, configure

BAD_CONFIG, BAD_CREDENTIALS, BAD_STORE, NO_BROKER, TAMPERED = 3, 4, 5, 6, 7

HELP = """Run and look after one node. / Menjalankan dan merawat satu node.

Exit status: 0 fine, 2 wrong usage, 3 configuration, 4 keys or certificate, 5 encrypted store, 6 broker not reached,
7 the ledger or the audit log was tampered with.
"""

app = typer.Typer(name="jaga-node", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
out = Console()
err = Console(stderr=True)

ConfigFile = Annotated[Path, typer.Argument(help="The node's node.toml. / Berkas node.toml milik node.")]


@app.callback()
def common(
    log: Annotated[LogFormat, typer.Option("--log", help="Log as text for people, or one JSON object a line.")] = (
        LogFormat.TEXT
    ),
) -> None:
    """Options for every command."""
    configure(log)


def fail(code: int, why: object) -> NoReturn:
    """One line that says what to do, and an exit status that says which kind of trouble it is."""
    err.print(f"[bold red]jaga-node:[/] {why}", soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def explained(action: Callable[[], None]) -> None:
    """Run `action`; every expected trouble becomes one clear line and its own exit status."""
    try:
        action()
    except (BadConfig, BadBrokerUrl, BadContactFile) as why:
        fail(BAD_CONFIG, why)
    except (BadKey, UntrustedCertificate) as why:
        fail(BAD_CREDENTIALS, why)
    except StoreError as why:
        fail(BAD_STORE, why)
    except (NotConnected, OSError) as why:
        fail(NO_BROKER, why)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make. / Folder yang akan dibuat.")],
    name: Annotated[str, typer.Option(help="The site's name, for people; it never leaves the node.")],
    broker: Annotated[str, typer.Option(help="Address of the broker, mqtts://HOST:PORT.")],
) -> None:
    """Make a node's configuration and keys, and a request for its certificate. / Membuat konfigurasi dan kunci node."""

    def make() -> None:
        BrokerUrl.parse(broker)
        if (folder / "node.toml").exists():
            raise BadConfig(f"{folder / 'node.toml'} is there already; choose another folder, or remove it first")
        keys = PrivateKeys.generate()
        keys.save(folder / "credentials")
        write_private(folder / "store.key", secrets.token_hex(32).encode() + b"\n")
        (folder / "request.pem").write_bytes(request(keys))
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        (folder / "node.toml").write_text(f'name = "{quoted}"\n\n[link]\nbroker = "{broker}"\n', "utf-8")
        out.print(f"Made {folder}. Send [bold]{folder / 'request.pem'}[/] to the central team (it holds no secret);")
        out.print(f"put the party.pem and authority.pem that come back into {folder / 'credentials'}.")
        out.print("Kirim request.pem ke tim pusat; simpan party.pem dan authority.pem yang diterima di credentials/.")

    explained(make)


@app.command()
def run(config: ConfigFile) -> None:
    """Log proximity, train, and answer the centre, until stopped. / Menjalankan node sampai dihentikan."""

    def work() -> None:
        from edge.node import Node  # noqa: PLC0415  (the other commands do without its imports)

        node = Node(NodeConfig.load(config))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: node.stop())
        node.run()

    explained(work)


@app.command()
def doctor(
    config: ConfigFile,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the broker.")] = 10.0,
) -> None:
    """Check everything a node needs, and say what to do. / Memeriksa semua kebutuhan node dan memberi petunjuk."""

    def check() -> None:
        loaded = NodeConfig.load(config)
        ok("configuration / konfigurasi", str(config))
        identity = Identity.load(loaded.credentials)
        ok("certificate / sertifikat", f"{identity.party}, until {identity.certificate.not_after:%Y-%m-%d}")
        database = Database(loaded.store.path, loaded.store_key())
        database.check()
        ok("encrypted store / basis data terenkripsi", str(loaded.store.path))
        url = BrokerUrl.parse(loaded.link.broker)
        client = f"{identity.party}-doctor-{secrets.token_hex(8)}"
        connection = Connection(url, client, tls=tls_context(loaded.credentials) if url.tls else None)
        connection.start()
        try:
            connection.wait_connected(wait)
        finally:
            connection.stop()
        ok("broker", str(url))

    explained(check)
    privacy(config)


@app.command()
def privacy(config: ConfigFile) -> None:
    """What this node's records have cost, and everything that left it. / Anggaran privasi dan catatan keluar."""

    def show() -> None:
        from privacy.accounting.ledger import Budget, PrivacyLedger  # noqa: PLC0415
        from privacy.boundary.audit import AuditLog  # noqa: PLC0415
        from privacy.journal import BrokenChain  # noqa: PLC0415

        loaded = NodeConfig.load(config)
        connection = Database(loaded.store.path, loaded.store_key()).connect()
        rules = loaded.privacy
        ledger = PrivacyLedger(connection, Budget(rules.epsilon, rules.delta, rules.record_lifetime_days * 86400))
        audit = AuditLog(connection)
        try:
            ledger.verify()
            audit.verify()
        except BrokenChain as why:
            fail(TAMPERED, why)
        ok("ledger and audit log are whole / buku privasi utuh", f"{len(ledger.entries())} entries")
        out.print(
            f"epsilon spent / terpakai: [bold]{ledger.epsilon():.3f}[/] of {rules.epsilon:g} at delta {rules.delta:g}, "
            f"over {rules.record_lifetime_days:g} days"
        )
        table = Table("row", "when / waktu (UTC)", "to / kepada", "bytes", "ledger", "what / isi")
        for row in audit.rows():
            paid = ", ".join(map(str, row.entries)) or "-"
            when = f"{datetime.fromtimestamp(row.at, UTC):%Y-%m-%d %H:%M:%S}"
            table.add_row(str(row.row), when, row.recipient, f"{row.size_bytes:,}", paid, row.note)
        out.print(table)

    explained(show)


def ok(what: str, detail: str) -> None:
    out.print(f"[green]✓[/] {what}: {detail}", highlight=False)


def main() -> None:
    """Entry point of `jaga-node`."""
    sys.exit(app())
