"""What every request passes first and every answer last: who may ask, for which host, how much, and the headers that
tell a browser to be careful."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.lan import is_local
from edge.page.address import IpAddress

LONGEST_BODY_BYTES = 4096
LONGEST_URL_BYTES = 1024
FORM = "application/x-www-form-urlencoded"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not `no-referrer`: with that, browsers send `Origin: null` with the page's own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Turns away requests from the internet, for hosts that are not this node (DNS rebinding), and with a body that no
    form of the page makes; and hardens the answers.

    Args:
        hosts: names of this node. Its address is allowed where the request came in at that very address.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        answer = self._app if refusal is None else PlainTextResponse(*refusal)
        await answer(scope, receive, _hardened(send))

    def _refusal(self, scope: Scope) -> tuple[str, int] | None:
        """Text and status of a refusal; the text is for people who debug, and says nothing of the site."""
        headers = Headers(scope=scope)
        if not is_local((scope.get("client") or ("", 0))[0]):
            return "for this site's own network only / hanya untuk jaringan lokasi ini", 403
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_here(hosts[0], scope):
            return "not a name of this node / bukan nama node ini ([page] hosts)", 421
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > LONGEST_URL_BYTES:
            return "address too long / alamat terlalu panjang", 414
        return None if scope["method"] in ("GET", "HEAD") else _refused_body(headers)

    def _is_here(self, host: str, scope: Scope) -> bool:
        name, port = host.lower(), ""
        if name.startswith("["):
            name, _, port = name[1:].partition("]")
        elif ":" in name:
            name, _, port = name.partition(":")
            port = ":" + port
        if port and not port[1:].isdecimal():
            return False
        address = _address(name)
        if address is None:
            return name.removesuffix(".") in self._hosts
        return address == _address((scope.get("server") or ("", 0))[0])


def _refused_body(headers: Headers) -> tuple[str, int] | None:
    length = headers.get("content-length", "")
    if not length.isdecimal() or "transfer-encoding" in headers:
        return "length required / panjang isi harus disebut", 411
    if int(length) > LONGEST_BODY_BYTES:
        return "too long / terlalu panjang", 413
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return "forms only / hanya formulir", 415
    return None


def _address(text: str) -> IpAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _hardened(send: Send) -> Send:
    async def harden(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return harden
