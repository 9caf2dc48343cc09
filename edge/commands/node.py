"""Setting a node up, running it, and looking it over."""

from __future__ import annotations

import gc
import secrets
import signal
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from edge.commands.encounters import mode_line
from edge.commands.keys import PROTECTS, source_name
from edge.commands.privacy import show
from edge.commands.terminal import NO_BROKER, ConfigFile, explained, fail, note, ok, out
from edge.config import DAY_S, BadConfig, NodeConfig, PrivacyTable
from edge.seeds import NOT_PINNED
from edge.store.connection import Connection as StoreConnection
from edge.store.database import Database
from edge.store.sightings import Sightings
from edge.store.trusted_clock import TrustedClock
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.wire import Connection, Delivery
from privacy.identity.authority import Identity, request
from privacy.identity.keys import PrivateKeys, write_private
from privacy.identity.revocation import BadRevocationList, Revocations

LIST_S = 5.0
"""How long the broker may take to deliver a list that it has retained."""


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make. / Folder yang akan dibuat.")],
    name: Annotated[str, typer.Option(help="The site's name, for people; it never leaves the node.")],
    broker: Annotated[str, typer.Option(help="Address of the broker, mqtts://HOST:PORT.")],
    helper_key: Annotated[
        str,
        typer.Option(
            help="Fingerprint that the second organisation told you itself (`jaga-central helper show`), or `any`. / "
            "Sidik jari dari organisasi kedua."
        ),
    ] = "",
    no_secure_sum: Annotated[
        bool,
        typer.Option(
            "--no-secure-sum",
            help="Answer without a second organisation, too: the centre then sees this node's updates. / "
            "Menjawab juga tanpa organisasi kedua.",
        ),
    ] = False,
) -> None:
    """Make a node's configuration and keys, and a request for its certificate. / Membuat konfigurasi dan kunci node."""

    def make() -> None:
        BrokerUrl.parse(broker)
        privacy = _privacy(helper_key, no_secure_sum=no_secure_sum)
        if (folder / "node.toml").exists():
            raise BadConfig(f"{folder / 'node.toml'} is there already; choose another folder, or remove it first")
        keys = PrivateKeys.generate()
        keys.save(folder / "credentials")
        write_private(folder / "store.key", secrets.token_hex(32).encode() + b"\n")
        (folder / "request.pem").write_bytes(request(keys))
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        (folder / "node.toml").write_text(f'name = "{quoted}"\n\n[link]\nbroker = "{broker}"\n\n{privacy}', "utf-8")
        out.print(f"Made {folder}. Send [bold]{folder / 'request.pem'}[/] to the central team (it holds no secret);")
        out.print(f"put the party.pem and authority.pem that come back into {folder / 'credentials'}.")
        out.print("Kirim request.pem ke tim pusat; simpan party.pem dan authority.pem yang diterima di credentials/.")

    explained(make)


def _privacy(helper_key: str, *, no_secure_sum: bool) -> str:
    """The [privacy] table of a new node."""
    lines = [f'secure_sum = "{"allowed" if no_secure_sum else "required"}"']
    if helper_key:
        try:
            PrivacyTable(helper_key=helper_key)
        except ValidationError as why:
            raise BadConfig(
                f"--helper-key {helper_key!r}: a fingerprint has 64 hexadecimal digits, as `jaga-central helper show` "
                "prints it; or write any"
            ) from why
        lines.append(f'helper_key = "{helper_key}"')
    elif not no_secure_sum:
        raise BadConfig(
            "--helper-key is missing: ask the second organisation itself for its fingerprint (`jaga-central helper "
            "show`). `--helper-key any` believes whom the federation's authority calls a helper; `--no-secure-sum` "
            "does without a second organisation, and the centre then sees this node's updates / tanyakan sidik jari "
            "langsung kepada organisasi kedua"
        )
    return "\n".join(["[privacy]", *lines]) + "\n"


def run(config: ConfigFile) -> None:
    """Log proximity, train, and answer the centre, until stopped. / Menjalankan node sampai dihentikan."""

    def work() -> None:
        from edge.node import Node  # noqa: PLC0415  (the other commands do without its imports)

        loaded = NodeConfig.load(config)
        stopping, running = threading.Event(), list[Node]()

        def stop(*_: object) -> None:
            stopping.set()
            for node in running:
                # In a thread: this one may hold the very lock that `stop` takes, in the middle of a wait.
                threading.Thread(target=node.stop).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        again = True
        while again and not stopping.is_set():
            running.append(Node(loaded))
            running[0].run()
            again = running[0].rotating
            # The store is given its new key by the next one, while nobody has it open.
            running.clear()
            gc.collect()

    explained(work)


def _take(revocations: Revocations, delivery: Delivery, came: threading.Event) -> None:
    try:
        revocations.receive(delivery.payload)
    except BadRevocationList:
        return  # another carrier's may be good
    if revocations.problem() is None:
        came.set()


def doctor(
    config: ConfigFile,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the broker.")] = 10.0,
) -> None:
    """Check everything a node needs, and say what to do. / Memeriksa semua kebutuhan node dan memberi petunjuk."""

    def check() -> None:
        loaded = NodeConfig.load(config)
        ok("configuration / konfigurasi", str(config))
        if loaded.privacy.secure_sum == "required" and loaded.privacy.helper_key is None:
            raise BadConfig(NOT_PINNED)
        database = Database(loaded.store.path, loaded.store_key())
        database.check()
        ok("encrypted store / basis data terenkripsi", str(loaded.store.path))
        source = source_name(loaded)
        ok("key source / asal kunci", f"{source}; protects against / melindungi dari: {PROTECTS[source]}")
        with closing(database.connect()) as store:
            mode_line(store, loaded)
            _clock_lines(store)
        identity = Identity.load(loaded.credentials)
        ok("certificate / sertifikat", f"{identity.party}, until {identity.certificate.not_after:%Y-%m-%d}")
        url = BrokerUrl.parse(loaded.link.broker)
        client = f"{identity.party}-doctor-{secrets.token_hex(8)}"
        connection = Connection(url, client, tls=tls_context(loaded.credentials) if url.tls else None)
        revocations = Revocations(identity.anchor)
        came = threading.Event()
        connection.subscribe(topics.ALL_REVOCATIONS, lambda delivery: _take(revocations, delivery, came))
        connection.start()
        try:
            connection.wait_connected(wait)
            ok("broker", str(url))
            came.wait(min(wait, LIST_S))
        finally:
            connection.stop()
        if (trouble := revocations.problem()) is not None:
            until_then = "until then this node does not train / sampai saat itu node tidak ikut pembelajaran"
            fail(NO_BROKER, f"{trouble}; {until_then}")
        days = revocations.seconds_left() / DAY_S
        ok("revoked certificates / sertifikat yang dicabut", f"list is good for {days:.1f} days / hari")

    explained(check)
    show(config)


def _clock_lines(store: StoreConnection) -> None:
    """What the node makes of its clock, and what is set aside because of it."""
    clock = TrustedClock(store)
    now = clock.look()
    verdict = clock.verdict()
    shown = f"records are dated {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC"
    if verdict.trusted:
        ok("clock / jam", shown)
    else:
        note("clock / jam", f"{shown}; {verdict.reason}")
    if later := Sightings(store).in_the_future(now):
        note("dated in the future / bertanggal masa depan", f"{later} sightings are set aside until then, or deleted")
