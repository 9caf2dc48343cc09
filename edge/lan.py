"""What counts as the site's own network: private, link-local and loopback addresses, and nothing else."""

from __future__ import annotations

import ipaddress
import socket

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


class NotLocal(ValueError):
    """An address that is not on the site's own network."""


def is_local(address: str) -> bool:
    """Whether a literal address (IPv4, IPv6, or IPv4 inside IPv6) is on the site's own network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    meant = mapped or found
    return any(meant.version == network.version and meant in network for network in LOCAL)


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
