"""A real MQTT 5 broker on loopback, started, stopped, killed and restarted at will.

Two kinds. Mosquitto, with the configuration that production uses, enforces certificates and access rules. The embedded
one (`iotcore`, rumqttd inside a wheel) needs neither root nor a package, and enforces neither: there the security of a
federation rests on its signed and sealed payloads alone. `Broker.caveats` says so in sentences fit for a screen.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from firmware_config.mosquitto import ENVIRONMENT, render
from simulations import tether

Kind = Literal["mosquitto", "embedded"]

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the range (32768 and up) from which the kernel lends ports to outgoing connections, so that nothing takes the
port while a broker is down between stop and restart."""

MAX_PACKET_BYTES = 67_108_864
"""As `max_packet_size` in mosquitto.conf."""

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0
LOG_LINES_QUOTED = 12


class BrokerUnavailable(RuntimeError):
    """No broker could be started; the message quotes its log or says what to do."""


class PortTaken(BrokerUnavailable):
    """Another process listens on the port."""


@dataclass(frozen=True, slots=True)
class BrokerCredentials:
    """Paths of the PEM files a broker needs: the authority it trusts, its own certificate, its private key."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> BrokerCredentials:
        """The files that `privacy.identity.authority.Identity.save` writes."""
        return cls(folder / "authority.pem", folder / "party.pem", folder / "signing.key")

    def __post_init__(self) -> None:
        for path in (self.authority, self.certificate, self.key):
            if not path.is_file():
                raise FileNotFoundError(f"a broker needs {path}, which is not there: enrol a party with role `broker`")

    def check(self) -> None:
        """Load key and certificate as a server would: rumqttd finds out with its first client, and says nothing.

        Raises:
            BrokerUnavailable: they cannot be used, or do not belong together.
        """
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except OSError as why:
            raise BrokerUnavailable(f"{self.key} is not the key of {self.certificate}, or no key: {why}") from why


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What a broker itself enforces, whatever the payloads do."""

    mutual_tls: bool
    access_rules: bool
    survives_restart: bool


GUARANTEES: dict[Kind, Guarantees] = {
    "mosquitto": Guarantees(mutual_tls=True, access_rules=True, survives_restart=True),
    "embedded": Guarantees(mutual_tls=False, access_rules=False, survives_restart=False),
}
CAVEATS: dict[Kind, tuple[str, ...]] = {
    "mosquitto": (),
    "embedded": (
        "This broker does not ask clients for certificates: whoever reaches its port can connect.",
        "This broker has no access rules: every client can read and write every topic.",
        "What keeps strangers out here is that payloads are signed and sealed; for a real federation use Mosquitto.",
        "This broker keeps nothing on disk: a restart forgets sessions, queues and retained messages.",
        "This broker may hold back the end of a large message until its next ping: times measured with it say little.",
    ),
}


class Broker:
    """One running broker, made by `start_broker`. Leaving its `with` block stops it."""

    def __init__(self, kind: Kind, folder: Path, port: int, command: list[str]) -> None:
        self.kind: Kind = kind
        self.folder = folder
        self.port = port
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtts://{HOST}:{self.port}"

    @property
    def guarantees(self) -> Guarantees:
        return GUARANTEES[self.kind]

    @property
    def caveats(self) -> tuple[str, ...]:
        """What to tell whoever relies on this broker, one sentence each; empty if it enforces everything."""
        return CAVEATS[self.kind]

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def memory_bytes(self) -> int:
        """Resident memory of the broker's process."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise BrokerUnavailable(f"the broker's process {self.pid} has ended and has no memory to measure")

    def save(self) -> None:
        """Ask Mosquitto to write sessions, queues and retained messages to disk now (it does so every minute)."""
        if self.guarantees.survives_restart:
            self._running().send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """End it in good order; Mosquitto writes its state to disk. No effect if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL): Mosquitto loses what came since its last save, a minute at most."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same port, with what is on disk; stops it first if it is running.

        Raises:
            BrokerUnavailable: it does not come up.
        """
        self.stop()
        if not _is_free(self.port):
            raise PortTaken(f"port {self.port} of {HOST} is taken by another process: choose another, or none")
        with self.log.open("ab") as log:
            self._process = tether.spawn(self._command, stdout=log, stderr=log, env={**ENVIRONMENT, **os.environ})
        try:
            self._await_tls()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Broker {self.kind} {self.url} {'running' if self.is_running else 'stopped'}>"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise BrokerUnavailable(f"the broker at {self.url} is not running")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_tls(self) -> None:
        """Wait until a TLS handshake with the broker's own certificate succeeds.

        No client certificate is shown: in TLS 1.3 the client's side of the handshake is done before the server judges
        it, which is all that has to be seen, and leaves one line about a missing certificate in Mosquitto's log.
        """
        process = self._running()
        trust = ssl.create_default_context(cafile=self.folder / "authority.pem")
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with (
                    socket.create_connection((HOST, self.port), 5) as raw,
                    trust.wrap_socket(raw, server_hostname=HOST),
                ):
                    return
            except ssl.SSLCertVerificationError as why:
                raise self._unavailable(
                    f"shows a certificate that its clients would refuse: {why.verify_message}"
                ) from why
            except OSError as why:
                if time.monotonic() > deadline:
                    raise self._unavailable(f"does not speak TLS after {START_TIMEOUT_S:.0f} s ({why})") from why
            try:  # a pause that a broker which gives up cuts short
                status = process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise self._unavailable(f"ended with status {status} before it spoke TLS")

    def _unavailable(self, what: str) -> BrokerUnavailable:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_QUOTED:]
        said = "\n  ".join(lines) or "(nothing)"
        return BrokerUnavailable(f"the {self.kind} broker at {self.url} {what}. The end of {self.log}:\n  {said}")


def start_broker(
    kind: Kind | Literal["auto"],
    folder: Path,
    credentials: BrokerCredentials,
    port: int | None = None,
    *,
    observer: bool = False,
    crl: Path | None = None,
) -> Broker:
    """Start a broker on loopback and wait until it speaks TLS. It ends with this process at the latest.

    Args:
        kind: `auto` is Mosquitto where it is installed, else the embedded one.
        folder: for its configuration, log and persistent state; made if absent.
        credentials: its certificate must name 127.0.0.1.
        port: a free one below 32000 if None.
        observer: whether Mosquitto lets a party named `observer` read everything.
        crl: certificate revocation list for Mosquitto.

    Raises:
        BrokerUnavailable: it is not installed or does not start; quotes its log.
    """
    program = mosquitto_program()
    if kind == "auto":
        kind = "mosquitto" if program else "embedded"
    credentials.check()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(credentials.authority, folder / "authority.pem")
    command: Callable[[int], list[str]]
    if kind == "mosquitto":
        if program is None:
            raise BrokerUnavailable(
                "Mosquitto is not installed: `apt-get install mosquitto`, or use the embedded broker"
            )
        command = _mosquitto(program, folder, credentials, observer, crl)
    else:
        if find_spec("iotcore") is None:
            raise BrokerUnavailable("no broker here: `apt-get install mosquitto`, or `pip install 'jaga[sim]'`")
        if crl is not None:
            raise BrokerUnavailable("the embedded broker checks no client certificates, so no revocation list either")
        command = _embedded(folder, credentials)
    while True:
        chosen = free_port() if port is None else port
        broker = Broker(kind, folder, chosen, command(chosen))
        try:
            broker.restart()
        except PortTaken:  # between free_port and here
            if port is not None:
                raise
        else:
            return broker


def mosquitto_program() -> str | None:
    """The path of the `mosquitto` binary; Debian keeps it in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port of loopback on which nobody listens at this moment."""
    for port in random.SystemRandom().sample(PORTS, 200):
        if _is_free(port):
            return port
    raise BrokerUnavailable(f"200 ports between {PORTS.start} and {PORTS.stop} are all taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As brokers do: the connections of one that just stopped may linger, and do not stand in its way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _mosquitto(
    program: str, folder: Path, credentials: BrokerCredentials, observer: bool, crl: Path | None
) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        files = render(
            port=port,
            bind=HOST,
            crl=crl,
            observer=observer,
            settings={
                "cafile": credentials.authority,
                "certfile": credentials.certificate,
                "keyfile": credentials.key,
                "acl_file": folder / "jaga.acl",
                "persistence_location": f"{folder}/",
                "log_dest": "stderr",
                # As root, Mosquitto would become another user, who can read neither the key nor this folder.
                "user": "root",
            },
        )
        return [program, "-c", str(files.write(folder))]

    return command


def _embedded(folder: Path, credentials: BrokerCredentials) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        config = folder / "rumqttd.toml"
        config.write_text(_RUMQTTD.format(port=port, max_packet=MAX_PACKET_BYTES, **_quoted(credentials)), "utf-8")
        # Below CRITICAL rumqttd writes a line for every packet, as an error.
        return [sys.executable, "-m", "iotcore", "--config", str(config), "--log-level", "CRITICAL"]

    return command


def _quoted(credentials: BrokerCredentials) -> dict[str, str]:
    """Paths as TOML literal strings, which know no escapes and therefore no apostrophe."""
    paths = {name: str(getattr(credentials, name)) for name in ("authority", "certificate", "key")}
    for path in paths.values():
        if "'" in path or "\n" in path:
            raise BrokerUnavailable(f"the embedded broker cannot be given the path {path!r}: move it to a plainer one")
    return {name: f"'{path}'" for name, path in paths.items()}


_RUMQTTD = """\
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
# Every filter keeps a log of its own in memory, up to size x count bytes; the oldest segment is dropped above that,
# read or not.
max_segment_size = 67108864
max_segment_count = 8

[v5.jaga]
name = "jaga"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 0

[v5.jaga.tls]
certpath = {certificate}
keypath = {key}
# Read, and not enforced by this build.
capath = {authority}

[v5.jaga.connections]
connection_timeout_ms = 20000
max_payload_size = {max_packet}
max_inflight_count = 200
# Without it, a publish to a topic that nobody subscribed to hangs up on the publisher.
dynamic_filters = true
"""
