"""`helper`: the second organisation of a secure sum. It vouches for nodes, and holds one half of every sum."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from rich.table import Table

from aggregator.commands.terminal import DEFAULT_CONFIG, day, explained, moment, out
from aggregator.commands.terminal import ConfigFile as CentralFile
from aggregator.config import BadConfig, CentralConfig
from aggregator.helper.config import HelperConfig
from aggregator.helper.records import HelperRecords
from aggregator.helper.service import HelperServer
from privacy.boundary.broker import BrokerUrl
from privacy.identity.authority import CertificateAuthority, Identity, request
from privacy.identity.certificates import HELPER_PARTY, Role, fingerprint, node_id_of
from privacy.identity.keys import PrivateKeys

helper = typer.Typer(
    help="The second organisation of a secure sum. / Organisasi kedua dalam penjumlahan aman.", no_args_is_help=True
)

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="JAGA_HELPER_CONFIG",
        help="The helper's helper.toml. / Berkas helper.toml milik organisasi kedua.",
    ),
]
HELPER_CONFIG = Path("helper.toml")
Nodes = Annotated[list[str], typer.Argument(metavar="NODE…", help="Parties, node-… / Nama node.")]


@helper.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make. / Folder yang akan dibuat.")],
    broker: Annotated[str, typer.Option(help="Address of the federation's broker, mqtts://HOST:PORT.")],
) -> None:
    """Make the helper's own keys, and a request for its certificate. / Membuat kunci organisasi kedua.

    Run it at the second organisation: its keys never leave it, and the first one must not have them.
    """
    with explained():
        BrokerUrl.parse(broker)
        file = folder / "helper.toml"
        if file.exists():
            raise BadConfig(f"{file} is there already: choose another folder, or remove it first")
        keys = PrivateKeys.generate()
        keys.save(folder / "credentials")
        (folder / "request.pem").write_bytes(request(keys))
        file.write_text(f'broker = "{broker}"\nmin_cohort = 3\n', "utf-8")
        HelperRecords(HelperConfig.load(file).records).close()
        shown = fingerprint(keys.signing.public_key(), keys.sealing_public)
        out.print(f"Made {folder}. Send [bold]{folder / 'request.pem'}[/] to the central team (it holds no secret);")
        out.print(f"put the party.pem and authority.pem that come back into {folder / 'credentials'}.")
        out.print("Kirim request.pem ke tim pusat; simpan party.pem dan authority.pem yang diterima di credentials/.")
        out.print("Fingerprint of these keys, for \\[privacy] helper_key of each node / Sidik jari kunci ini:")
        out.print(f"[bold]{shown}[/]", soft_wrap=True, highlight=False)


@helper.command()
def enroll(
    request_file: Annotated[Path, typer.Option("--request", help="The request.pem that the helper made.")],
    to: Annotated[Path, typer.Option("--out", help="Where its certificate goes: party.pem.")] = Path("party.pem"),
    config: CentralFile = DEFAULT_CONFIG,
) -> None:
    """For the central team: sign the helper's request. / Untuk tim pusat: menandatangani permintaan organisasi kedua.

    Writes its certificate, and the authority's beside it: both go back to the helper, and neither is secret.
    """
    with explained():
        authority = CertificateAuthority.load(CentralConfig.load(config).authority)
        try:
            asked = request_file.read_bytes()
        except OSError as why:
            raise BadConfig(f"request {request_file} cannot be read: {why}") from why
        pem = authority.sign(asked, party=HELPER_PARTY, role=Role.HELPER)
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        certificate = authority.anchor.verify(der)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(pem)
        (to.parent / "authority.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
        out.print(
            f"[green]✓[/] the second organisation is [bold]{HELPER_PARTY}[/], until "
            f"{day(certificate.not_after.timestamp())}.",
            highlight=False,
        )
        out.print("Compare by telephone the fingerprint of its keys / Cocokkan sidik jari ini lewat telepon:")
        out.print(f"[bold]{certificate.fingerprint}[/]", soft_wrap=True, highlight=False)
        out.print(f"Send {to} and {to.parent / 'authority.pem'} to it. / Kirim kedua berkas itu ke organisasi kedua.")


@helper.command()
def approve(nodes: Nodes, config: ConfigFile = HELPER_CONFIG) -> None:
    """Vouch for nodes: only they are counted in a sum. / Menyetujui node; hanya node ini yang dihitung."""
    with explained(), _records(config) as (_, records):
        for party in _checked(nodes):
            new = records.approve(party, time.time())
            out.print(f"[green]✓[/] {party}" + ("" if new else ": approved already / sudah disetujui"), highlight=False)


@helper.command()
def withdraw(nodes: Nodes, config: ConfigFile = HELPER_CONFIG) -> None:
    """Vouch for nodes no longer, from the next sum on. / Mencabut persetujuan node."""
    with explained(), _records(config) as (_, records):
        for party in _checked(nodes):
            known = records.withdraw(party)
            out.print(f"[green]✓[/] {party}" + ("" if known else ": was not approved / belum disetujui"))


@helper.command("list")
def list_nodes(config: ConfigFile = HELPER_CONFIG) -> None:
    """The nodes that count, and how many a sum needs. / Daftar node yang disetujui."""
    with explained(), _records(config) as (loaded, records):
        table = Table("node", "approved / disetujui (UTC)")
        for party, at in sorted(records.approved().items()):
            table.add_row(party, moment(at))
        out.print(table)
        out.print(f"A sum needs {loaded.min_cohort} of them. / Satu jumlah memerlukan {loaded.min_cohort} node.")


@helper.command()
def run(config: ConfigFile = HELPER_CONFIG) -> None:
    """Answer the leader until stopped. / Menjawab pusat sampai dihentikan."""
    with explained(), _records(config) as (loaded, records):
        identity = Identity.load(loaded.credentials)
        if identity.certificate.role is not Role.HELPER:
            raise BadConfig(f"{loaded.credentials} is of a {identity.certificate.role}, not of a helper")
        server = HelperServer(loaded, identity, records)
        for number in (signal.SIGTERM, signal.SIGINT):
            # In a thread: this one may hold the very lock that `stop` takes, in the middle of a wait.
            signal.signal(number, lambda *_: threading.Thread(target=server.stop).start())
        server.run()


@contextmanager
def _records(config: Path) -> Iterator[tuple[HelperConfig, HelperRecords]]:
    loaded = HelperConfig.load(config)
    records = HelperRecords(loaded.records)
    try:
        yield loaded, records
    finally:
        records.close()


def _checked(nodes: list[str]) -> list[str]:
    """The parties, where each is a node's.

    Raises:
        BadConfig: one is not, and nothing is changed.
    """
    for party in nodes:
        try:
            node_id_of(party)
        except ValueError as why:
            raise BadConfig(f"{why}: write node- and 16 digits, as `jaga-central nodes list` shows it") from why
    return nodes
