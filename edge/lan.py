"""What counts as the site's own network: private, link-local and loopback addresses, and nothing else."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

LOCAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",  # RFC 3927, link-local
        "127.0.0.0/8",
        "fc00::/7",  # RFC 4193, unique local
        "fe80::/10",
        "::1/128",
    )
)


PORTS = {"http": 80, "https": 443}


class NotLocal(ValueError):
    """No address of a machine on the site's own network; the message says what to do."""


def is_local(address: str) -> bool:
    """Whether a literal address (IPv4, IPv6, or IPv4 inside IPv6) is on the site's own network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    meant = mapped or found
    return any(meant.version == network.version and meant in network for network in LOCAL)


@dataclass(frozen=True, slots=True)
class LocalUrl:
    """`http://HOST[:PORT][/PATH]` or `https://…`, of a machine on the site's own network."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> LocalUrl:
        """Take an address apart. A name is looked up later, at each call.

        Raises:
            NotLocal: not such an address, or of a machine outside.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as why:
            raise NotLocal(f"{url!r} is no address of a server: {why}") from why
        if parts.scheme not in PORTS or not host or port == 0 or parts.username or parts.fragment or not url.isascii():
            raise NotLocal(f"{url!r} is no address of a server: write http://HOST:PORT/PATH, or https://…")
        literal = host.replace(".", "").isdigit() or ":" in host
        if literal and not is_local(host):
            raise NotLocal(
                f"{host} is not on the site's own network, and what is known of persons must not leave it: give a "
                "private address (10.…, 172.16.… to 172.31.…, 192.168.…, fd…)"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or PORTS[parts.scheme], path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def resolve(host: str, port: int) -> str:
    """The literal address of a host. All of its addresses must be local; callers connect to the one that is returned,
    so that a name which resolves differently a moment later changes nothing.

    Raises:
        NotLocal: an address of the host is outside.
        OSError: the name does not resolve.
    """
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in addresses:
        if not is_local(address):
            raise NotLocal(
                f"{host} is {address}, which is not on the site's own network: give a private address "
                "(10.…, 172.16.… to 172.31.…, 192.168.…, fd…)"
            )
    return addresses[0]
