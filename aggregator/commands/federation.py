"""`init` and `nodes`: the authority, who belongs to the federation, and who no longer does."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from rich.table import Table

from aggregator.commands.authority import load_authority, new_passphrase
from aggregator.commands.revocations import revoked_nodes, tell_issued, warn_if_it_runs_out
from aggregator.commands.terminal import DEFAULT_CONFIG, ConfigFile, day, explained, out
from aggregator.config import BadConfig, CentralConfig
from aggregator.records.database import Records
from aggregator.records.nodes import Nodes
from aggregator.revoked import RevokedBook
from privacy.boundary.broker import BrokerUrl
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party

LEADER = "leader"
BROKER = "broker"

nodes = typer.Typer(help="Who belongs to the federation. / Siapa saja anggota federasi.", no_args_is_help=True)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make. / Folder yang akan dibuat.")],
    federation: Annotated[str, typer.Option(help="Name of the federation, in every certificate.")],
    broker: Annotated[str, typer.Option(help="Address of the broker that all will use, mqtts://HOST:PORT.")],
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the authority's key open. For laboratories. / Tanpa sandi.")
    ] = False,
) -> None:
    """Make a federation: its authority, the centre's keys, the broker's certificate, and empty records.

    Membuat federasi baru: otoritas sertifikat, kunci pusat, sertifikat broker, dan basis data kosong.

    The authority's key is put under a passphrase, which is asked for, or read from the file that
    JAGA_AUTHORITY_PASSPHRASE_FILE names. The first list of revoked certificates, an empty one, is made, too.
    """
    with explained():
        url = BrokerUrl.parse(broker)
        if (folder / "central.toml").exists():
            raise BadConfig(f"{folder / 'central.toml'} is there already: choose another folder, or remove it first")
        passphrase = None if no_passphrase else new_passphrase()
        authority = CertificateAuthority.create(federation)
        authority.save(folder / "authority", passphrase)
        authority.enrol(LEADER, Role.LEADER).save(folder / LEADER)
        authority.enrol(BROKER, Role.BROKER, [url.host]).save(folder / BROKER)
        (folder / "central.toml").write_text(f'broker = "{broker}"\n', "utf-8")
        central = CentralConfig.load(folder / "central.toml")
        Records(central.records).close()
        RevokedBook(central.authority).issue(authority, central.revocations)
        out.print(f"Made federation [bold]{federation}[/] in {folder}.", highlight=False)
        out.print(f"Move {folder / BROKER} to the machine of the broker. Keep {folder / 'authority'} where no node")
        out.print("can reach it, with a backup: who has its key can make members. / Simpan folder authority baik-baik.")
        out.print(
            "When the broker runs, and every few days: `jaga-central revocations sign`, then `publish`. Nodes do not"
        )
        out.print(
            "train without a valid list of revoked certificates. / Perbarui daftar sertifikat yang dicabut berkala."
        )


@nodes.command()
def enroll(
    name: Annotated[str, typer.Option(help="The site's name, as the central team knows it.", min=1)],
    request: Annotated[Path, typer.Option(help="The request.pem that the node made.")],
    to: Annotated[Path, typer.Option("--out", help="Where its certificate goes: party.pem.")] = Path("party.pem"),
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Sign a node's request, and note the node. / Menandatangani permintaan sebuah node dan mencatatnya.

    Writes its certificate, and the authority's beside it: both go back to the node, and neither is secret.
    """
    with explained(), _centre(config) as (central, records):
        authority = load_authority(central.authority)
        try:
            asked = request.read_bytes()
        except OSError as why:
            raise BadConfig(f"request {request} cannot be read: {why}") from why
        taken = {entry.node_id for entry in Nodes(records).entries()}
        node_id = next(n for n in iter(lambda: secrets.randbits(64), None) if n > 1 and n not in taken)
        pem = authority.sign(asked, party=node_party(node_id), role=Role.NODE)
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        entry = Nodes(records).enrol(name, authority.anchor.verify(der))
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(pem)
        (to.parent / "authority.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
        out.print(f"[green]✓[/] {name} is [bold]{entry.party}[/], until {day(entry.expires_at)}.", highlight=False)
        out.print(f"Send {to} and {to.parent / 'authority.pem'} to the node, into its credentials folder.")
        out.print("Kirim kedua berkas itu ke node, ke dalam folder credentials.")


@nodes.command("list")
def list_nodes(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """All nodes, and until when their certificates are valid. / Daftar semua node."""
    with explained(), _centre(config) as (central, records):
        table = Table("name / nama", "party", "enrolled / terdaftar", "valid until / berlaku sampai", "state / status")
        now = datetime.now(UTC).timestamp()
        for entry in Nodes(records).entries():
            state = "[green]member[/]" if entry.expires_at > now else "[yellow]expired[/]"
            if entry.revoked_at is not None:
                state = f"[red]revoked {day(entry.revoked_at)}[/]"
            table.add_row(entry.name, entry.party, day(entry.enrolled_at), day(entry.expires_at), state)
        out.print(table)
        warn_if_it_runs_out(central)


@nodes.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The node's name or party. / Nama node.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Take a node's certificate back: it takes part no more. / Mencabut sertifikat sebuah node.

    Where the authority's key is at hand, also signs the list that nodes and helper obey, and the broker's.
    """
    with explained(), _centre(config) as (central, records):
        entry = Nodes(records).revoke(name)
        out.print(f"[green]✓[/] {entry.party} is revoked; runs leave it out from their next round on.", highlight=False)
        if not (central.authority / "authority.key").exists():
            out.print(
                f"The authority's key is not in {central.authority}. Where it is, type, so that the helper hears of it:"
            )
            out.print(f"  jaga-central revocations add {entry.serial:x}", highlight=False)
            return
        book = RevokedBook(central.authority)
        authority = load_authority(central.authority)
        book.add(revoked_nodes(central))
        tell_issued(central, book.issue(authority, central.revocations))


@contextmanager
def _centre(config: Path) -> Iterator[tuple[CentralConfig, Records]]:
    central = CentralConfig.load(config)
    records = Records(central.records)
    try:
        yield central, records
    finally:
        records.close()
