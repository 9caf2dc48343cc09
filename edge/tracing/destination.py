"""Where alerts may be told: a machine on the site's own network. Light, because every command reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edge.lan import is_local

PORTS = {"http": 80, "https": 443}
SECRET_CHARACTERS = 16


class BadWebhook(ValueError):
    """The address or the secret cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """`http://HOST[:PORT][/PATH]` or `https://…`, of a machine on the site's own network."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> WebhookUrl:
        """Take an address apart. A name is looked up later, at each call.

        Raises:
            BadWebhook: not such an address, or of a machine outside.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as why:
            raise BadWebhook(f"{url!r} is no address of a server: {why}") from why
        if parts.scheme not in PORTS or not host or port == 0 or parts.username or parts.fragment or not url.isascii():
            raise BadWebhook(f"{url!r} is no address of a server: write http://HOST:PORT/PATH, or https://…")
        literal = host.replace(".", "").isdigit() or ":" in host
        if literal and not is_local(host):
            raise BadWebhook(
                f"{host} is not on the site's own network, and who was near a case must not leave it: give a private "
                "address (10.…, 172.16.… to 172.31.…, 192.168.…, fd…)"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or PORTS[parts.scheme], path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def read_secret(path: Path) -> bytes:
    """The secret in a file, without white space around it.

    Raises:
        BadWebhook: it is not there, or too short to be one.
    """
    try:
        secret = path.read_bytes().strip()
    except OSError as why:
        raise BadWebhook(f"{path}: no secret there ({why.strerror}); make one with `openssl rand -hex 32`") from why
    if len(secret) < SECRET_CHARACTERS:
        raise BadWebhook(f"{path}: a secret has {SECRET_CHARACTERS} characters or more, this one {len(secret)}")
    return secret
