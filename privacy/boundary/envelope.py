"""The envelope that every payload travels in: a header in the open, a body, and a signature over both.

Layout: `JG1` | header length (uint16) | header (msgpack) | body | Ed25519 signature (64 bytes). The signature covers a
context string and the SHA-256 of all before it as it travels, so that a forged or damaged message is turned away before
anything is decrypted; and the hash of the whole, which the audit log keeps, costs no second pass. A sealed body is
closed with HPKE to the recipient's certificate, and bound to the header.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag

from privacy.boundary.messages import BODY, SEALED, Body, Header, Kind, encode_into, size_of
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, Role
from privacy.identity.keys import SEALED_KEY_BYTES, TAG_BYTES, PrivateKeys

MAGIC = b"JG1"
SIGNATURE_BYTES = 64
HEADER_AT = len(MAGIC) + 2
CONTEXT = b"jaga envelope 1\x00"
CLOCK_SLACK_S = 300.0
"""A Pi's clock may be behind or ahead by this much before its messages are turned away."""


class Reason(StrEnum):
    """Why a payload was turned away; counted and logged under these words."""

    MALFORMED = "malformed"
    STRANGER = "from a stranger"
    BAD_SIGNATURE = "wrong signature"
    EXPIRED = "expired"
    NOT_FOR_US = "for another party"
    WRONG_TOPIC = "on a topic of another kind or party"
    WRONG_RUN = "for another run"
    CANNOT_OPEN = "sealed to other keys"
    REVOKED = "from a party whose certificate was revoked"
    NOT_ENTITLED = "of a kind that its sender's role may not send"
    DUPLICATE = "of a task that was answered before"
    UNASKED = "of a task that is not open, or no longer"


class Rejected(ValueError):
    """A payload was turned away."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason.value)
        self.reason = reason


SENDERS: dict[Kind, frozenset[Role]] = {
    Kind.PRESENCE: frozenset({Role.NODE, Role.LEADER, Role.HELPER, Role.HEALTH, Role.OBSERVER}),
    Kind.TASK: frozenset({Role.LEADER}),
    Kind.BLOB: frozenset({Role.LEADER}),
    Kind.CLAIM: frozenset({Role.LEADER}),
    Kind.REPLY: frozenset({Role.NODE}),
    Kind.CASE: frozenset({Role.NODE}),
    Kind.KEYS: frozenset({Role.HEALTH}),
    Kind.SUM: frozenset({Role.LEADER}),
    Kind.SHARE: frozenset({Role.HELPER}),
    Kind.REVOCATIONS: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload taken apart, not yet believed.

    Attributes:
        body: as it travelled, a view into the payload.
        signed: what the signature covers, a view into the payload.
    """

    header: Header
    header_bytes: bytes
    body: memoryview
    signed: memoryview
    signature: bytes

    @classmethod
    def parse(cls, payload: bytes | bytearray | memoryview) -> Envelope:
        """Take a payload apart without copying its body.

        Raises:
            Rejected: MALFORMED.
        """
        view = memoryview(payload)
        start = len(MAGIC) + 2
        if len(view) < start or view[: len(MAGIC)] != MAGIC:
            raise Rejected(Reason.MALFORMED, f"{len(view)} bytes without the envelope's first ones")
        end = start + int.from_bytes(view[len(MAGIC) : start], "big")
        if len(view) < end + SIGNATURE_BYTES:
            raise Rejected(Reason.MALFORMED, f"cut off after {len(view)} bytes")
        header_bytes = bytes(view[start:end])
        try:
            header = msgspec.msgpack.decode(header_bytes, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as why:
            raise Rejected(Reason.MALFORMED, f"header: {why}") from why
        signed = view[:-SIGNATURE_BYTES]
        return cls(header, header_bytes, signed[end:], signed, bytes(view[-SIGNATURE_BYTES:]))

    def verify(self, sender: Certificate, *, now: float | None = None) -> None:
        """Check that `sender` signed this, may send it, and that it is not too old.

        Raises:
            Rejected: STRANGER, NOT_ENTITLED, BAD_SIGNATURE or EXPIRED.
        """
        header = self.header
        if header.sender != sender.party or header.federation != sender.federation:
            raise Rejected(Reason.STRANGER, f"{header.sender} of {header.federation}")
        if sender.role not in SENDERS[header.kind]:
            raise Rejected(Reason.NOT_ENTITLED, f"{header.kind} by a {sender.role}")
        try:
            sender.verify_key.verify(self.signature, CONTEXT + hashlib.sha256(self.signed).digest())
        except InvalidSignature as why:
            raise Rejected(Reason.BAD_SIGNATURE, f"{header.kind} of {header.sender}") from why
        at = time.time() if now is None else now
        if not header.created_at - CLOCK_SLACK_S <= at <= header.expires_at + CLOCK_SLACK_S:  # NaN is never
            raise Rejected(Reason.EXPIRED, _clocks(header, at))

    def open(self, keys: PrivateKeys, *, in_place: bool = False) -> Body:
        """Decode the body, opening it first where it is sealed.

        Args:
            in_place: open it into the memory of the payload, which must be writable and is used up.

        Raises:
            Rejected: CANNOT_OPEN or MALFORMED.
        """
        header = self.header
        if header.kind not in BODY or header.sealed is not (header.kind in SEALED):
            raise Rejected(Reason.MALFORMED, f"a {header.kind} that is {'sealed' if header.sealed else 'open'}")
        plain: bytes | memoryview = self.body
        if header.sealed:
            try:
                opened = keys.open_in_place if in_place else keys.open
                plain = opened(self.body, info=self.header_bytes)
            except (InvalidTag, ValueError) as why:
                raise Rejected(Reason.CANNOT_OPEN, header.kind) from why
        try:
            body: Body = msgspec.msgpack.decode(plain, type=BODY[header.kind])
            return body
        except (msgspec.DecodeError, UnicodeDecodeError) as why:
            raise Rejected(Reason.MALFORMED, f"{header.kind}: {why}") from why


def _clocks(header: Header, at: float) -> str:
    """When a message was good, and whose clock may be wrong."""
    good = f"good from {_when(header.created_at)} to {_when(header.expires_at)}, and here it is {_when(at)} UTC"
    ahead_s = header.created_at - at
    if not CLOCK_SLACK_S < ahead_s < math.inf:
        return good
    return f"{good}: {header.sender} is {ahead_s / 3600:.1f} hours ahead; set its clock, or this machine's"


def _when(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):  # NaN, infinities, and years past 9999
        return repr(at)


def wrap(identity: Identity, header: Header, body: Body, recipient: Certificate | None = None) -> bytearray:
    """Encode, seal (where the kind demands it) and sign a message.

    Raises:
        ValueError: header, body and recipient contradict each other.
    """
    return wrap_and_hash(identity, header, body, recipient)[0]


def wrap_and_hash(
    identity: Identity, header: Header, body: Body, recipient: Certificate | None = None
) -> tuple[bytearray, bytes]:
    """The same, with the payload's SHA-256; in memory that is made once and not copied.

    Raises:
        ValueError: header, body and recipient contradict each other.
    """
    if not isinstance(body, BODY.get(header.kind, ())) or header.sealed is not (header.kind in SEALED):
        raise ValueError(f"a {header.kind} cannot carry {type(body).__name__} with sealed={header.sealed}")
    payload, start = begin(header, SEALED_KEY_BYTES + size_of(body) + TAG_BYTES)
    at = start + SEALED_KEY_BYTES if header.sealed else start
    encode_into(body, payload, at)
    try:  # structs are checked when they are read: what nobody could read must not go out
        msgspec.msgpack.decode(payload[HEADER_AT:start], type=Header)
        with memoryview(payload) as view:
            msgspec.msgpack.decode(view[at:], type=type(body))
    except msgspec.ValidationError as why:
        raise ValueError(f"a {header.kind} that its recipient would turn away: {why}") from why
    if header.sealed:
        if recipient is None or recipient.party != header.recipient or recipient.sealing_key is None:
            raise ValueError(f"a {header.kind} is sealed to the certificate of {header.recipient}")
        payload.extend(bytes(TAG_BYTES))
        with memoryview(payload) as view:
            recipient.sealing_key.seal_in_place(view[start:], info=bytes(view[HEADER_AT:start]))
    payload.extend(bytes(SIGNATURE_BYTES))
    return payload, sign(identity, payload)


def begin(header: Header, body_bytes: int) -> tuple[bytearray, int]:
    """An envelope, whose body and signature are still zeros, and where its body begins."""
    head = msgspec.msgpack.encode(header)
    start = HEADER_AT + len(head)
    payload = bytearray(start + body_bytes + SIGNATURE_BYTES)
    payload[:start] = b"".join((MAGIC, len(head).to_bytes(2, "big"), head))
    return payload, start


def sign(identity: Identity, payload: bytearray) -> bytes:
    """Fill in the signature of an envelope that is complete but for it; returns the SHA-256 of the whole."""
    with memoryview(payload) as view:
        digest = hashlib.sha256(view[:-SIGNATURE_BYTES])
        view[-SIGNATURE_BYTES:] = identity.keys.signing.sign(CONTEXT + digest.digest())
        digest.update(view[-SIGNATURE_BYTES:])
    return digest.digest()
