"""Telling the site's own server of an alert: one signed HTTP POST, to a private address and nowhere else.

The name is resolved once for each call, all of its addresses must be local, and the connection goes to the one that was
looked at (`edge.lan`); redirects are not followed, and no proxy of the environment is used. So a name that resolves
differently tomorrow, or a server that sends us on, moves nothing out of the building.

What is said is a day, whose, where, for how many minutes, and the level; nothing about the case. The header
`Jaga-Signature: t=SECONDS,v1=HEX` is HMAC-SHA256 over `SECONDS.BODY` with the secret that both sides have in a file.
`Jaga-Delivery` is the same when an alert is told again, so that a server can tell.
"""

from __future__ import annotations

import hmac
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from edge.lan import LocalUrl, NotLocal, resolve
from edge.store.exposures import StoredExposure
from privacy.boundary.gate import ALERT_TO_SITE_SERVER, SiteGate

TIMEOUT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 6 * 3600.0
ALERT = "alert"
"""The level of what reached the site's limit; what did not is not told."""


class NotDelivered(ConnectionError):
    """The server did not take it; the message says why, and nothing of what was sent."""


def pause_s(attempts: int) -> float:
    """How long to wait after so many failed calls, seconds: twice as long each time, up to six hours."""
    return float(min(FIRST_PAUSE_S * 2 ** min(attempts - 1, 20), LONGEST_PAUSE_S))


def body_of(alert: StoredExposure) -> bytes:
    """What is said of an alert, JSON."""
    exposure = alert.exposure
    day = time.strftime("%Y-%m-%d", time.gmtime(exposure.day * 86400))
    said = {
        "day": day,
        "subject": exposure.subject,
        "room": exposure.room,
        "minutes": round(exposure.minutes, 1),
        "level": ALERT,
    }
    return msgspec.json.encode(said)


def signature(secret: bytes, at: int, body: bytes) -> str:
    """The header's value; a receiver works it out the same way and compares."""
    return f"t={at},v1={hmac.digest(secret, f'{at}.'.encode() + body, 'sha256').hex()}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """The site's own server.

    Attributes:
        secret: shared with it.
        authority: PEM file of who signed its certificate, for `https`; None: the system's authorities.
    """

    url: LocalUrl
    secret: bytes = field(repr=False)
    gate: SiteGate
    authority: Path | None = None
    clock: Callable[[], float] = time.time

    def tell(self, alert: StoredExposure) -> None:
        """Call it once; the audit log has the call before it is made.

        Raises:
            NotDelivered: it is not local (any more), did not answer, or did not say yes.
        """
        note = "an alert to the site's own server, on the site's own network"
        body = self.gate.release(ALERT_TO_SITE_SERVER, f"{self.url.host}:{self.url.port}", body_of(alert), note)
        headers = {
            "Host": f"{self.url.host}:{self.url.port}",
            "Content-Type": "application/json",
            "Jaga-Signature": signature(self.secret, int(self.clock()), body),
            "Jaga-Delivery": str(alert.id),
        }
        try:
            address = resolve(self.url.host, self.url.port)
            pinned = str(LocalUrl(self.url.scheme, address, self.url.port, self.url.path))
            with (
                httpx.Client(verify=self._tls(), timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client,
                client.stream(
                    "POST", pinned, content=body, headers=headers, extensions={"sni_hostname": self.url.host}
                ) as answer,
            ):
                status = answer.status_code
        except NotLocal as why:
            raise NotDelivered(str(why)) from why
        except (OSError, httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as why:
            raise NotDelivered(f"{self.url.host}:{self.url.port}: {why or type(why).__name__}") from why
        if 300 <= status < 400:
            raise NotDelivered(f"{self.url.host}:{self.url.port} answered {status}: redirects are not followed")
        if not 200 <= status < 300:
            raise NotDelivered(f"{self.url.host}:{self.url.port} answered {status}")

    def _tls(self) -> ssl.SSLContext | bool:
        if self.url.scheme == "http":
            return False
        return ssl.create_default_context(cafile=self.authority)
