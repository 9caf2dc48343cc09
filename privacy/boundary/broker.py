"""A broker's address, and the TLS context of a party that calls it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

BROKER_AUTHORITY = "broker-ca.pem"
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BadBrokerUrl(ValueError):
    """Not the address of an MQTT broker."""


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """`mqtts://[user:password@]host[:port]` (TLS) or `mqtt://…` (plain; for loopback and tests)."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> BrokerUrl:
        """Take an address apart.

        Raises:
            BadBrokerUrl: naming what is wrong.
        """
        shown = url if "@" not in url else f"…@{url.rpartition('@')[2]}"  # errors are logged, passwords are not
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")
        except ValueError as why:
            raise BadBrokerUrl(f"{shown!r} is no broker address: {why}") from why
        if parts.scheme not in DEFAULT_PORTS or not host or parts.path not in ("", "/") or port == 0:
            raise BadBrokerUrl(f"{shown!r} is no broker address; write mqtts://HOST:PORT (or mqtt:// without TLS)")
        username, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
        return cls(host, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts", username, password)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}"


def tls_context(credentials: Path) -> ssl.SSLContext:
    """Mutual TLS 1.3 from a folder that `Identity.save` wrote.

    A broker of another authority is trusted where the folder also holds that authority's certificate as
    `broker-ca.pem`; envelopes are judged by `authority.pem` alone.

    Raises:
        OSError: a file is missing or does not load; the message names it.
    """
    authority, certificate, key = (credentials / name for name in ("authority.pem", "party.pem", "signing.key"))
    for path in (authority, certificate, key):
        if not path.is_file():
            raise FileNotFoundError(f"TLS needs {path}, which is not there: enrol this party")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False  # a party's name is no address: only a broker's certificate has those
    try:
        context.load_verify_locations(cafile=authority)
        if (credentials / BROKER_AUTHORITY).is_file():
            context.load_verify_locations(cafile=credentials / BROKER_AUTHORITY)
        context.load_cert_chain(certificate, key)
    except OSError as why:
        raise OSError(f"TLS cannot use {authority}, {certificate} and {key}: {why}; enrol this party again") from why
    return context
