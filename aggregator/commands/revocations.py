"""`revocations`: the signed, short-lived list of certificates that were taken back, which every node must have."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import TimeoutError as NotInTime
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from rich.table import Table

from aggregator.commands.authority import load_authority
from aggregator.commands.terminal import DEFAULT_CONFIG, ConfigFile, err, explained, moment, out
from aggregator.config import BadConfig, CentralConfig
from aggregator.records.database import Records
from aggregator.records.nodes import Nodes
from aggregator.records.revocations import stored_revocations
from aggregator.records.schema import RevocationListRow
from aggregator.revoked import Revoked, RevokedBook
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.wire import Connection, NotConnected
from privacy.identity.authority import Identity
from privacy.identity.certificates import TrustAnchor, UntrustedCertificate
from privacy.identity.keys import BadKey
from privacy.identity.revocation import LONGEST_VALIDITY, RUNS_OUT_S, BadRevocationList, RevocationList

HOURS = {"h": 1, "d": 24}
AUTHORITY_FILE = "authority.pem"

revocations = typer.Typer(
    help="Certificates that were taken back; nodes train only with a valid list. / Sertifikat yang dicabut.",
    no_args_is_help=True,
)

Valid = Annotated[str, typer.Option("--valid", help="How long the list is good, as 7d or 36h. / Masa berlaku daftar.")]


@revocations.command()
def add(
    who: Annotated[
        list[str],
        typer.Argument(help="Certificates (party.pem), or serial numbers in hex. / Sertifikat atau nomor seri."),
    ],
    valid: Valid = "7d",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Take certificates back, whoever's they are: a node's, the helper's or the leader's. / Mencabut sertifikat.

    Where the authority's key is. `publish` the list then; nodes, leader and helper obey it within seconds.
    """
    with explained():
        central, lifetime = CentralConfig.load(config), _lifetime(valid)
        anchor = _anchor(central)
        now = time.time()
        revoked = dict(_revoked(given, anchor, now) for given in who)  # all of them first: a wrong one changes nothing
        book = RevokedBook(central.authority)
        authority = load_authority(central.authority)
        book.add(revoked)
        for serial, entry in revoked.items():
            out.print(f"[green]✓[/] {entry.party}, certificate {serial:x}, is taken back.", highlight=False)
        tell_issued(central, book.issue(authority, central.revocations, valid=lifetime))


@revocations.command()
def sign(valid: Valid = "7d", config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Sign a new list, on a timer, before the last one ends. / Menandatangani daftar baru secara berkala.

    Where the authority's key is. Twice a week for a list that is good for 7 days leaves time for a holiday.
    """
    with explained():
        central, lifetime = CentralConfig.load(config), _lifetime(valid)
        book = RevokedBook(central.authority)
        authority = load_authority(central.authority)
        if central.credentials.exists():  # the centre itself, and not a machine for the authority alone
            book.add(revoked_nodes(central))
        tell_issued(central, book.issue(authority, central.revocations, valid=lifetime))


@revocations.command()
def publish(
    file: Annotated[Path | None, typer.Argument(help="The list that the authority signed. / Berkas daftar.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the broker. / Detik menunggu broker.")] = 30.0,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Give the list to the broker, which keeps it for every node. / Mengumumkan daftar ke semua node.

    A run does this by itself, at its start and whenever the file changes; so does the helper.
    """
    with explained():
        central = CentralConfig.load(config)
        identity = Identity.load(central.credentials)
        source = file or central.revocations
        newest = _load(source, identity.anchor)
        records = Records(central.records)
        try:
            stored_revocations(identity.anchor, records, RevocationListRow).receive(newest.der)
        except BadRevocationList as why:
            raise BadConfig(f"{source}: {why}") from why
        finally:
            records.close()
        if (trouble := newest.problem(time.time())) is not None:
            raise BadConfig(f"{source}: {trouble}")
        if source.resolve() != central.revocations.resolve():
            shutil.copyfile(source, central.revocations)
        _give_to_broker(central, identity, newest, wait)
        out.print(f"[green]✓[/] published until {_until(newest)}. / Diumumkan.", highlight=False)


@revocations.command()
def show(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """The list as it lies here: what is on it, and until when it is good. / Isi daftar dan masa berlakunya."""
    with explained():
        central = CentralConfig.load(config)
        newest = _load(central.revocations, _anchor(central))
        entries = RevokedBook(central.authority).entries()
        table = Table("certificate / sertifikat", "party", "taken back (UTC) / dicabut")
        for serial in sorted(newest.serials):
            entry = entries.get(serial)
            table.add_row(f"{serial:x}", entry.party if entry else "-", moment(entry.at if entry else None))
        out.print(table)
        out.print(
            f"Number {newest.number}, good until {_until(newest)}. / Berlaku sampai tanggal itu.", highlight=False
        )
        warn_if_it_runs_out(central)


def revoked_nodes(central: CentralConfig) -> dict[int, Revoked]:
    """The nodes that the centre's records say were taken back."""
    records = Records(central.records)
    try:
        entries = Nodes(records).entries()
    finally:
        records.close()
    return {e.serial: Revoked(e.revoked_at, e.party) for e in entries if e.revoked_at is not None}


def tell_issued(central: CentralConfig, newest: RevocationList) -> None:
    """Say what was made, and what to do with it."""
    out.print(
        f"Signed list number {newest.number} of {len(newest.serials)} certificates, good until {_until(newest)}.",
        highlight=False,
    )
    out.print(
        f"Publish {central.revocations} now: `jaga-central revocations publish`. A run that is on does it by itself."
    )
    out.print(
        f"Copy {central.authority / 'crl.pem'} to the broker and restart it, so that nobody on it can even connect."
    )
    out.print("Umumkan revocations.pem sekarang; salin crl.pem ke broker lalu mulai ulang broker.")


def warn_if_it_runs_out(central: CentralConfig) -> None:
    """One line if nodes do not train for want of a list, or soon will not."""
    try:
        newest = RevocationList.load(central.revocations, _anchor(central))
    except (BadRevocationList, BadConfig, OSError) as why:
        _warn(f"no list of revoked certificates ({why}): nodes do not train without one / node tidak akan belajar")
        return
    if (trouble := newest.problem(time.time())) is not None:
        _warn(f"{trouble}; nodes do not train / node tidak akan belajar")
    elif newest.good_until - time.time() < RUNS_OUT_S:
        _warn(
            f"the list of revoked certificates ends on {_until(newest)}, and nodes do not train after that: "
            "`jaga-central revocations sign`, then `publish` / segera perbarui daftar"
        )


def _warn(text: str) -> None:
    err.print(f"[yellow]{text}[/]", highlight=False, soft_wrap=True)


def _give_to_broker(central: CentralConfig, identity: Identity, newest: RevocationList, wait_s: float) -> None:
    url = BrokerUrl.parse(central.broker)
    tls = tls_context(central.credentials) if url.tls else None
    connection = Connection(url, f"{identity.party}-{secrets.token_hex(16)}", tls=tls)
    connection.start()
    try:
        connection.wait_connected(wait_s)
        connection.publish(topics.revocations(identity.party), newest.der, retain=True).result(wait_s)
    except NotInTime as why:
        raise NotConnected(f"broker {url} did not take the list in {wait_s:g} s") from why
    finally:
        connection.stop()


def _load(path: Path, anchor: TrustAnchor) -> RevocationList:
    try:
        return RevocationList.load(path, anchor)
    except FileNotFoundError as why:
        raise BadConfig(f"{path} is not there: make it with `jaga-central revocations sign`, where the key is") from why
    except BadRevocationList as why:
        raise BadConfig(str(why)) from why


def _anchor(central: CentralConfig) -> TrustAnchor:
    """Of the authority, by its own folder or by the leader's."""
    for folder in (central.authority, central.credentials):
        if (folder / AUTHORITY_FILE).exists():
            return TrustAnchor.from_pem((folder / AUTHORITY_FILE).read_bytes())
    raise BadKey(f"{AUTHORITY_FILE} is neither in {central.authority} nor in {central.credentials}")


def _revoked(given: str, anchor: TrustAnchor, now: float) -> tuple[int, Revoked]:
    if not Path(given).is_file():
        try:
            return int(given, 16), Revoked(now, "-")
        except ValueError as why:
            raise BadConfig(f"{given!r} is neither a file nor a serial number in hex") from why
    try:
        certificate = x509.load_pem_x509_certificate(Path(given).read_bytes())
        certificate.verify_directly_issued_by(anchor.authority)
    except (OSError, ValueError, TypeError, InvalidSignature) as why:
        raise UntrustedCertificate(f"{given} is not a certificate of this authority: {why}") from why
    return certificate.serial_number, Revoked(now, _party(certificate.subject.rdns))


def _party(names: Iterable[x509.RelativeDistinguishedName]) -> str:
    return next((str(a.value) for name in names for a in name if a.oid == NameOID.COMMON_NAME), "-")


def _lifetime(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,4})([hd])", text)
    hours = int(found[1]) * HOURS[found[2]] if found else 0
    if not 0 < hours <= LONGEST_VALIDITY.days * 24:
        raise BadConfig(f"--valid {text!r}: write hours or days, as 36h or 7d, and at most {LONGEST_VALIDITY.days}d")
    return timedelta(hours=hours)


def _until(newest: RevocationList) -> str:
    return f"{datetime.fromtimestamp(newest.good_until, UTC):%Y-%m-%d %H:%M} UTC"
