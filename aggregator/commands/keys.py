"""`keys`: the health authority, which takes cases of clinics and publishes their keys to every node of a region."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from aggregator.commands.authority import load_authority
from aggregator.commands.terminal import DEFAULT_CONFIG, explained, moment, out
from aggregator.commands.terminal import ConfigFile as CentralFile
from aggregator.config import BadConfig, CentralConfig
from aggregator.keys.config import HealthConfig, checked_region
from aggregator.keys.exports import exporter_of, make_export_key
from aggregator.keys.limits import DAY_S
from aggregator.keys.records import KeyRecords
from aggregator.keys.service import KeyServer
from privacy.identity.authority import Identity
from privacy.identity.certificates import HEALTH_PARTY, Role, node_id_of

keys = typer.Typer(
    help="The health authority: cases in, diagnosis keys out. / Otoritas kesehatan: kasus masuk, kunci keluar.",
    no_args_is_help=True,
)

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="JAGA_HEALTH_CONFIG",
        help="The health authority's health.toml. / Berkas health.toml milik otoritas kesehatan.",
    ),
]
HEALTH_CONFIG = Path("health.toml")
EXPORT_KEY, EXPORT_PUBLIC, KEY_ID, KEY_VERSION = "export.key", "export.pem", "510", "v1"
Wait = Annotated[float, typer.Option(help="Seconds to wait for the broker. / Detik menunggu broker.")]


@keys.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make. / Folder yang akan dibuat.")],
    central: CentralFile = DEFAULT_CONFIG,
) -> None:
    """Make a health authority: its certificate, and the key that signs exports. / Membuat otoritas kesehatan.

    Run it where the federation's authority is, then move the folder to the health authority's own machine.
    """
    with explained():
        file = folder / "health.toml"
        if file.exists():
            raise BadConfig(f"{file} is there already: choose another folder, or remove it first")
        loaded = CentralConfig.load(central)
        load_authority(loaded.authority).enrol(HEALTH_PARTY, Role.HEALTH).save(folder / HEALTH_PARTY)
        make_export_key(folder / EXPORT_KEY, folder / EXPORT_PUBLIC, KEY_ID, KEY_VERSION)
        file.write_text(f'broker = "{loaded.broker}"\n\n[clinics]\n# node-0123456789abcdef = "ID-JK"\n', "utf-8")
        KeyRecords(HealthConfig.load(file).records).close()
        out.print(f"Made a health authority in {folder}: name its clinics in {file}.", highlight=False)
        out.print(f"Give {folder / EXPORT_PUBLIC} to every node ([tracing] authority_key); it is no secret.")
        out.print(f"Keep {folder / EXPORT_KEY} where nobody can read it, with a backup. / Simpan export.key baik-baik.")


@keys.command()
def serve(config: ConfigFile = HEALTH_CONFIG) -> None:
    """Take cases and publish keys until stopped. / Menerima kasus dan mengumumkan kunci sampai dihentikan."""
    with explained(), _authority(config) as (_, server):
        for number in (signal.SIGTERM, signal.SIGINT):
            # In a thread: this one may hold the very lock that `stop` takes, in the middle of a wait.
            signal.signal(number, lambda *_: threading.Thread(target=server.stop).start())
        server.run()


@keys.command()
def publish(config: ConfigFile = HEALTH_CONFIG, wait: Wait = 30.0) -> None:
    """Publish now what may be shown by now. / Mengumumkan sekarang kunci yang sudah boleh diumumkan."""
    with explained(), _authority(config) as (_, server):
        server.start()
        try:
            server.wait_connected(wait)
            made = server.publish()
            if not server.flush(wait):
                raise BadConfig("the broker did not take the exports: may this party write jaga/1/keys/# (jaga.acl)?")
        finally:
            server.close()
        for export in made:
            out.print(f"[green]✓[/] {export.region} {export.batch}: {export.keys} keys, {len(export.payload):,} bytes")
        if not made:
            out.print("Nothing may be shown yet. / Belum ada yang boleh diumumkan.")


@keys.command("list")
def list_keys(config: ConfigFile = HEALTH_CONFIG) -> None:
    """What waits, what is published, and what was turned away. / Yang menunggu, diumumkan, dan ditolak."""
    with explained():
        loaded = HealthConfig.load(config)
        records = KeyRecords(loaded.records)
        waiting: Counter[tuple[str, float]] = Counter((one.region, one.release_at) for one in records.pending())
        table = Table(
            "region / wilayah", "keys / kunci", "shown from / diumumkan mulai (UTC)", title="waiting / menunggu"
        )
        for (region, at), count in sorted(waiting.items()):
            table.add_row(region, str(count), moment(at))
        out.print(table)
        table = Table(
            "region / wilayah", "batch", "keys / kunci", "until / sampai (UTC)", "published / diumumkan (UTC)"
        )
        for export in records.exports():
            table.add_row(
                export.region, export.batch, str(export.keys), moment(export.ends_at), moment(export.published_at)
            )
        out.print(table)
        if refusals := records.refusals():
            table = Table("day / hari", "party", "reason / alasan", "times / kali", title="turned away / ditolak")
            for day, party, reason, times in refusals:
                table.add_row(f"{datetime.fromtimestamp(day * DAY_S, UTC):%Y-%m-%d}", party, reason, str(times))
            out.print(table)
        records.close()


@contextmanager
def _authority(config: Path) -> Iterator[tuple[HealthConfig, KeyServer]]:
    loaded = HealthConfig.load(config)
    for party, region in loaded.clinics.items():
        checked_region(region, f"clinics.{party}")
        try:
            node_id_of(party)
        except ValueError as why:
            raise BadConfig(f"{config}: clinics: {why}") from why
    identity = Identity.load(loaded.credentials)
    if identity.certificate.role is not Role.HEALTH:
        raise BadConfig(f"{loaded.credentials} is of a {identity.certificate.role}, not of a health authority")
    records = KeyRecords(loaded.records)
    try:
        yield loaded, KeyServer(loaded, identity, records, exporter_of(loaded, identity))
    finally:
        records.close()
