"""Where the page may be reached: on this machine, or on a private network with TLS. Never from the public internet."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass

from edge.lan import is_local

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of an interface (netdevice(7))."""


class BadListen(ValueError):
    """The page cannot listen there; the message says where it can."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Address and port that the page listens on; port 0 takes any free one."""

    address: IpAddress
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """From `ADDRESS:PORT`, `[IPv6]:PORT` or `localhost:PORT`.

        Raises:
            BadListen: it is none of these, or the address is one that the whole internet can reach.
        """
        host, _, port = text.rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
        try:
            address = ipaddress.ip_address(host)
            number = int(port) if port.isascii() and port.isdecimal() else -1
        except ValueError:
            number = -1
        if not 0 <= number < 2**16:
            raise BadListen(f"{text!r} is no address and port: write it as 192.168.1.20:8443 or 127.0.0.1:8080")
        if not (address.is_unspecified or is_local(str(address))):
            raise BadListen(
                f"{address} can be reached from the whole internet, and this page is for the site alone: listen on an "
                "address of the site's network, on 0.0.0.0 (which turns away who is not of the site), or on 127.0.0.1"
            )
        return cls(address, number)

    @property
    def loopback(self) -> bool:
        return self.address.is_loopback

    def url(self, *, tls: bool, port: int | None = None) -> str:
        """How a browser on this machine's network writes it."""
        host = socket.gethostname() if self.address.is_unspecified else str(self.address)
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if tls else 'http'}://{host}:{self.port if port is None else port}/"


def own_names() -> list[str]:
    """Names under which a site's network may know this machine."""
    host = socket.gethostname().lower()
    short = host.partition(".")[0]
    return list(dict.fromkeys([host, short, f"{short}.local", "localhost"]))


def own_addresses() -> list[IpAddress]:
    """The site-local IPv4 addresses of this machine's interfaces, and the loopback ones."""
    found: list[IpAddress] = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                reply = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # an interface without an IPv4 address
                continue
            address = ipaddress.ip_address(reply[20:24])
            if is_local(str(address)) and address not in found:
                found.append(address)
    return found
