"""Revocation list: the certificates that a federation's authority has taken back, signed, numbered and short-lived.

It is an X.509 certificate revocation list (RFC 5280) with a CRL number. Anybody may carry it. What counts is inside:

- the authority's signature,
- its number: an older list never replaces a newer one, and a party keeps the newest over its restarts,
- its time, by the local clock: a list that is too old says nothing about what was revoked since, so a node that has no
  other does not train.

A serial number counts as revoked whatever the list's time: a wrong clock never makes a revoked party good again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from privacy.identity.certificates import TrustAnchor

log = structlog.get_logger()

MAX_LIST_BYTES = 256 * 1024
"""About 6000 revoked certificates."""
DEFAULT_VALIDITY = timedelta(days=7)
LONGEST_VALIDITY = timedelta(days=31)
"""A list that claims to be good for longer is not believed: it would say nothing for that long."""
RUNS_OUT_S = 3 * 86400.0
"""A list with less time than this left is to be renewed."""


def seconds_since_epoch() -> float:
    """The clock that a list's time is judged by, unless its holder is given another."""
    return time.time()


class BadRevocationList(ValueError):
    """Not a revocation list that this federation's authority signed for its parties; the message says why."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose signature was verified. Times are seconds since the epoch.

    Attributes:
        number: grows with every list.
        good_from: the time of issue, less the slack that certificates have too.
        good_until: when the next one must have come.
        serials: of the certificates that were taken back.
    """

    number: int
    good_from: float
    good_until: float
    serials: frozenset[int]
    der: bytes = field(repr=False)

    @classmethod
    def read(cls, encoded: bytes | bytearray | memoryview, anchor: TrustAnchor) -> RevocationList:
        """Decode a list (DER) and verify it.

        Raises:
            BadRevocationList: too large, damaged, of another authority, without a number or an end, or good for longer
                than `LONGEST_VALIDITY`.
        """
        if len(encoded) > MAX_LIST_BYTES:
            raise BadRevocationList(f"{len(encoded)} bytes, and a list has at most {MAX_LIST_BYTES}")
        data = bytes(encoded)
        try:
            crl = x509.load_der_x509_crl(data)
            authority = anchor.authority.public_key()
            if not isinstance(authority, Ed25519PublicKey) or not crl.is_signature_valid(authority):
                raise BadRevocationList("not signed by this federation's authority")
            ours = crl.issuer == anchor.authority.subject
            number = _number(crl)
            begins, ends = crl.last_update_utc, crl.next_update_utc
            serials = frozenset(entry.serial_number for entry in crl)
            der = crl.public_bytes(Encoding.DER)
        except BadRevocationList:
            raise
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as why:
            raise BadRevocationList(f"cannot be read: {why}") from why
        if not ours:
            raise BadRevocationList("signed by this federation's authority in another's name")
        if number is None or ends is None:
            raise BadRevocationList("without a number or without an end: not a list for nodes, but perhaps a broker's")
        if not timedelta() < ends - begins <= LONGEST_VALIDITY + timedelta(days=1):
            raise BadRevocationList(
                f"good from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, and a list is good for {LONGEST_VALIDITY.days} days "
                "at most"
            )
        return cls(number, begins.timestamp(), ends.timestamp(), serials, der)

    @classmethod
    def load(cls, path: Path, anchor: TrustAnchor) -> RevocationList:
        """Read a file (PEM) that `pem` was written to.

        Raises:
            BadRevocationList: as `read`; names the file.
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            pem = file.read(2 * MAX_LIST_BYTES)
        try:
            return cls.read(x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER), anchor)
        except ValueError as why:
            raise BadRevocationList(f"{path}: {why}") from why

    @property
    def pem(self) -> bytes:
        """The list for a file."""
        return x509.load_der_x509_crl(self.der).public_bytes(Encoding.PEM)

    def problem(self, now: float) -> str | None:
        """Why the list is not good at this time; None if it is."""
        if now > self.good_until:
            return (
                f"the list of revoked certificates ended on {_moment(self.good_until)} UTC: the central team must "
                "publish a new one"
            )
        if now < self.good_from:
            return (
                f"the list of revoked certificates begins on {_moment(self.good_from)} UTC, and here it is "
                f"{_moment(now)}: set this machine's clock"
            )
        return None


def _number(crl: x509.CertificateRevocationList) -> int | None:
    """The CRL number.

    Raises:
        ValueError: an extension says that the list is not the whole one.
    """
    number: int | None = None
    for extension in crl.extensions:
        if isinstance(extension.value, x509.CRLNumber):
            number = extension.value.crl_number
        elif extension.critical:
            raise ValueError(f"critical extension {extension.oid.dotted_string} is not understood here")
    return number


def _moment(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return repr(at)


NO_LIST = (
    "no list of revoked certificates has come from the centre yet: the central team publishes it with "
    "`jaga-central revocations publish`"
)


class Revocations:
    """The newest list that one party has seen. Safe from any thread.

    Args:
        kept: the list (DER) that was kept last; None if there was none.
        keep: stores a list durably, so that a restart does not forget the newest number. If it raises, the list is
            obeyed all the same, and kept when it comes again.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        anchor: TrustAnchor,
        *,
        kept: bytes | None = None,
        keep: Callable[[RevocationList], None] = lambda _: None,
        clock: Callable[[], float] = seconds_since_epoch,
    ) -> None:
        self._anchor = anchor
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: RevocationList | None = None
        self._unkept = False
        if kept is not None:
            try:
                self._newest = RevocationList.read(kept, anchor)
            except BadRevocationList as why:  # of an authority before this one, for example
                log.warning("the kept list of revoked certificates cannot be used", reason=str(why))

    @property
    def newest(self) -> RevocationList | None:
        return self._newest

    def receive(self, encoded: bytes | bytearray | memoryview) -> bool:
        """Take in a list; whether it is newer than what was known.

        Raises:
            BadRevocationList: it is not to be believed, or older than the newest.
        """
        found = RevocationList.read(encoded, self._anchor)
        with self._lock:
            newest = self._newest
            if newest is not None and found.number < newest.number:
                raise BadRevocationList(f"number {found.number} is older than {newest.number}, which is known here")
            if newest is not None and found.number == newest.number and found.der != newest.der:
                raise BadRevocationList(f"another list with number {found.number} is known here")
            new = newest is None or found.number > newest.number
            if new:
                self._newest, self._unkept = found, True
            if self._unkept:
                self._keep(found)
                self._unkept = False
        return new

    def revokes(self, serial: int) -> bool:
        """Whether the newest list names this certificate."""
        newest = self._newest
        return newest is not None and serial in newest.serials

    def problem(self) -> str | None:
        """Why there is no list that is good now, in words for a technician; None if there is one."""
        newest = self._newest
        return NO_LIST if newest is None else newest.problem(self._clock())

    def seconds_left(self) -> float:
        """How long the newest list is good still; 0 if there is none or it is not."""
        newest = self._newest
        return 0.0 if newest is None or self.problem() else newest.good_until - self._clock()
