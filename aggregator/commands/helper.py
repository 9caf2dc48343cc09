"""`helper`: the second organisation of a secure sum, with keys, approvals and records of its own."""

from __future__ import annotations

import re
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

from aggregator.commands.authority import load_authority
from aggregator.commands.terminal import DEFAULT_CONFIG, explained, moment, out
from aggregator.commands.terminal import ConfigFile as CentralFile
from aggregator.config import BadConfig, CentralConfig
from aggregator.helper.anchor import HelperAnchor
from aggregator.helper.config import HelperConfig
from aggregator.helper.records import HelperRecords
from aggregator.helper.service import HelperServer
from privacy.boundary.broker import BrokerUrl
from privacy.identity.authority import Identity, request
from privacy.identity.certificates import HELPER_PARTY, Certificate, Role, TrustAnchor, node_id_of
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.seeds import key_digest

helper = typer.Typer(
    help="The second aggregator of secure sums, another organisation's. / Agregator kedua, milik organisasi lain.",
    no_args_is_help=True,
)

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="JAGA_HELPER_CONFIG",
        help="The helper's helper.toml. / Berkas helper.toml milik agregator kedua.",
    ),
]
AGAIN = "none: approve it again, by certificate / setujui lagi dengan sertifikat"
HELPER_CONFIG = Path("helper.toml")
Parties = Annotated[list[str], typer.Argument(help="Nodes, as node-0123456789abcdef. / Nama node.")]
PartiesOrFiles = Annotated[
    list[str],
    typer.Argument(
        help="Files with certificates (party.pem), or node-0123456789abcdef=FINGERPRINT. / Sertifikat node, atau "
        "node-0123456789abcdef=SIDIK_JARI."
    ),
]


@helper.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make. / Folder yang akan dibuat.")],
    broker: Annotated[str, typer.Option(help="Address of the broker, mqtts://HOST:PORT. / Alamat broker.")],
) -> None:
    """Make a helper on the second organisation's own machine: its keys never leave it. / Membuat agregator kedua.

    Send request.pem to the central team, and put what comes back (party.pem, authority.pem) into credentials/.
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
        out.print(f"Made a helper in {folder}. Send {folder / 'request.pem'} to the central team; it is no secret.")
        out.print("Kirim request.pem ke tim pusat; simpan party.pem dan authority.pem di credentials/.")
        _tell_key(keys.sealing_public.fingerprint)


@helper.command()
def enroll(
    asked: Annotated[Path, typer.Option("--request", help="The request.pem that the helper made.")],
    to: Annotated[Path, typer.Option("--out", help="Where its certificate goes: party.pem.")] = Path("party.pem"),
    config: CentralFile = DEFAULT_CONFIG,
) -> None:
    """At the centre: sign the helper's request. / Di pusat: menandatangani permintaan agregator kedua."""
    with explained():
        authority = load_authority(CentralConfig.load(config).authority)
        try:
            pem = authority.sign(asked.read_bytes(), party=HELPER_PARTY, role=Role.HELPER)
        except OSError as why:
            raise BadConfig(f"request {asked} cannot be read: {why}") from why
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(pem)
        (to.parent / "authority.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        certificate = authority.anchor.verify(der)
        out.print(f"[green]✓[/] {certificate.party}, until {certificate.not_after:%Y-%m-%d}. Send {to} and", end=" ")
        out.print(f"{to.parent / 'authority.pem'} back. / Kirim kedua berkas itu ke agregator kedua.", highlight=False)


@helper.command()
def run(config: ConfigFile = HELPER_CONFIG) -> None:
    """Answer for whole groups of approved nodes until stopped. / Menjalankan agregator kedua sampai dihentikan."""
    with explained(), _helper(config) as (loaded, records):
        server = HelperServer(loaded, _identity(loaded), records)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.stop).start())
        server.run()


@helper.command()
def approve(parties: PartiesOrFiles, config: ConfigFile = HELPER_CONFIG) -> None:
    """Vouch for nodes that this organisation knows: only they are counted. / Menyetujui node yang dikenal.

    By certificate or by the fingerprint of its key (`jaga-node doctor` shows it), which field staff give to your
    organisation themselves: the authority may be the leader's own, and could certify another key under a name.
    """
    with explained(), _helper(config) as (loaded, records):
        nodes = [_node(given, loaded) for given in parties]  # all of them first: one that is wrong changes nothing
        for party, key in nodes:
            new = records.approve(party, time.time(), key)
            out.print(f"[green]✓[/] {party} is approved{'' if new else ' already'}.", highlight=False)


@helper.command()
def withdraw(parties: Parties, config: ConfigFile = HELPER_CONFIG) -> None:
    """Vouch for nodes no longer. / Mencabut persetujuan."""
    with explained(), _helper(config) as (_, records):
        for party in parties:
            if not records.withdraw(party):
                raise BadConfig(f"{party} is not approved: `jaga-central helper list` shows who is")
            out.print(f"[green]✓[/] {party} is not counted any more.", highlight=False)


@helper.command()
def revoke(
    certificates: Annotated[list[Path], typer.Argument(help="crl.pem of the authority. / Berkas crl.pem.")],
    config: ConfigFile = HELPER_CONFIG,
) -> None:
    """Believe certificates no longer that a list names, for good; restart the helper then. / Mencabut sertifikat.

    What the federation publishes, the helper obeys by itself. This is for a list that nobody publishes.
    """
    with explained(), _helper(config) as (loaded, records):
        anchor = _identity(loaded).anchor
        for file in certificates:
            try:
                crl = x509.load_pem_x509_crl(file.read_bytes())
            except (OSError, ValueError) as why:
                raise BadConfig(f"{file}: no list of revoked certificates: {why}") from why
            if not crl.is_signature_valid(anchor.authority.public_key()):  # type: ignore[arg-type]
                raise BadConfig(f"{file}: not signed by this federation's authority")
            records.revoke([entry.serial_number for entry in crl], time.time())
            out.print(f"[green]✓[/] {len(crl)} certificates are believed no longer. Restart the helper.")


@helper.command("accept-old-records")
def accept_old_records(config: ConfigFile = HELPER_CONFIG) -> None:
    """Go on with records that were put back from a backup, if there are no newer ones. / Memakai catatan lama.

    Every draw in them is forgotten, so that nothing of a round that was begun before is answered for again: runs that
    were going on draw the groups of their round anew. Look at `helper list` then: whom you withdrew since the backup is
    approved again.
    """
    with explained(), _helper(config) as (loaded, records):
        records.forget_draws()
        HelperAnchor(loaded.anchor).write(records)
        out.print("[green]✓[/] These records count from now on. Check `helper list` / periksa `helper list`.")


@helper.command("list")
def list_nodes(config: ConfigFile = HELPER_CONFIG) -> None:
    """Approved nodes. / Daftar node yang disetujui."""
    with explained(), _helper(config) as (_, records):
        table = Table("party", "approved (UTC) / disetujui", "key / kunci")
        for party, approval in sorted(records.approved().items()):
            table.add_row(party, moment(approval.at), AGAIN if approval.key is None else f"{approval.key.hex()[:16]}…")
        out.print(table)


@helper.command()
def show(config: ConfigFile = HELPER_CONFIG) -> None:
    """This helper's certificate and the fingerprint that nodes may pin. / Sidik jari kunci agregator kedua."""
    with explained(), _helper(config) as (loaded, _):
        certificate = _identity(loaded).certificate
        out.print(f"{certificate.party} of {certificate.federation}, until {certificate.not_after:%Y-%m-%d}")
        if certificate.sealing_key is not None:
            _tell_key(certificate.sealing_key.fingerprint)


def _tell_key(fingerprint: str) -> None:
    out.print(r"Tell field staff yourselves, not through the central team; it goes into node.toml, \[privacy]:")
    out.print("Beritahukan langsung ke petugas lapangan, bukan lewat tim pusat:")
    out.print(f'  helper_key = "{fingerprint}"', soft_wrap=True, highlight=False, markup=False)


def _certificate(file: Path, anchor: TrustAnchor) -> Certificate:
    try:
        loaded = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as why:
        raise BadConfig(f"{file}: no certificate: {why}") from why
    return anchor.verify(loaded.public_bytes(serialization.Encoding.DER))


def _node(given: str, loaded: HelperConfig) -> tuple[str, bytes]:
    """A node and the digest of its key, from its certificate's file or from NAME=FINGERPRINT."""
    if Path(given).is_file():
        certificate = _certificate(Path(given), _identity(loaded).anchor)
        if certificate.role is not Role.NODE:
            raise BadConfig(f"{given} is of a {certificate.role}, and nodes alone are counted")
        return certificate.party, key_digest(certificate)
    party, _, fingerprint = given.partition("=")
    try:
        node_id_of(party)
    except ValueError as why:
        raise BadConfig(
            f"{why}: give the node's party.pem, or node- and 16 digits, as `jaga-central nodes list` shows it, with "
            "=FINGERPRINT"
        ) from why
    if re.fullmatch("[0-9a-f]{64}", fingerprint) is None:
        raise BadConfig(
            f"{given}: a name alone is not approved, for the authority could certify another key under it. Give its "
            f"certificate (party.pem), or {party}=FINGERPRINT with the 64 digits that `jaga-node doctor` shows there / "
            "nama saja tidak cukup: berikan party.pem atau sidik jari kuncinya"
        )
    return party, bytes.fromhex(fingerprint)


def _identity(loaded: HelperConfig) -> Identity:
    identity = Identity.load(loaded.credentials)
    if identity.certificate.role is not Role.HELPER:
        raise BadConfig(f"{loaded.credentials} is of a {identity.certificate.role}, not of a helper")
    return identity


@contextmanager
def _helper(config: Path) -> Iterator[tuple[HelperConfig, HelperRecords]]:
    loaded = HelperConfig.load(config)
    records = HelperRecords(loaded.records)
    try:
        yield loaded, records
    finally:
        records.close()
