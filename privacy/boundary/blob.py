"""Arrays that go to many nodes: published once, retained, under the hash of what is published.

Each blob is closed with a fresh AES-256-GCM key that travels in the sealed task, so the broker keeps what it cannot
read, and a node that was asleep finds it. The key is used once, hence the constant nonce.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privacy.boundary.envelope import Envelope, Reason, Rejected, wrap_blob
from privacy.boundary.messages import BlobReference, Header, Kind
from privacy.identity.authority import Identity

NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class ClosedBlob:
    """What to publish, and what a task says of it."""

    payload: bytes
    reference: BlobReference


def close(identity: Identity, header: Header, arrays: Sequence[bytes], key: bytes | None = None) -> ClosedBlob:
    """Join arrays, close them under a fresh key and sign.

    Args:
        key: that of an earlier blob of the same header and arrays, to make the very same payload again; never for
            others, because the nonce is constant.
    """
    key = key or secrets.token_bytes(32)
    sizes = [len(data) for data in arrays]
    payload = wrap_blob(identity, header, AESGCM(key).encrypt(NONCE, b"".join(arrays), None))
    return ClosedBlob(payload, BlobReference(hashlib.sha256(payload).digest(), key, sizes))


def open_blob(payload: bytes | memoryview, reference: BlobReference) -> bytes:
    """The joined arrays.

    The hash came in a sealed and signed task, so a payload that matches it needs no further check of its sender.

    Raises:
        Rejected: the payload is not the one that was referred to, or does not open.
    """
    if hashlib.sha256(payload).digest() != reference.digest:
        raise Rejected(Reason.MALFORMED, f"blob is not the one with hash {reference.digest.hex()[:16]}…")
    envelope = Envelope.parse(payload)
    if envelope.header.kind is not Kind.BLOB:
        raise Rejected(Reason.MALFORMED, f"a {envelope.header.kind} where a blob should be")
    try:
        plain = AESGCM(reference.key).decrypt(NONCE, envelope.body, None)
    except InvalidTag as why:
        raise Rejected(Reason.CANNOT_OPEN, "blob") from why
    if min(reference.sizes, default=0) < 0 or sum(reference.sizes) != len(plain):
        raise Rejected(Reason.MALFORMED, f"blob has {len(plain)} bytes, its task says {sum(reference.sizes)}")
    return plain
