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

from privacy.boundary.envelope import Envelope, Reason, Rejected, begin, sign
from privacy.boundary.messages import EVERYONE, BlobReference, Header, Kind
from privacy.identity.authority import Identity
from privacy.identity.keys import CONTENT_KEY_BYTES, NONCE, TAG_BYTES


@dataclass(frozen=True, slots=True)
class ClosedBlob:
    """What to publish, and what a task says of it."""

    payload: bytearray
    reference: BlobReference


def close(
    identity: Identity, header: Header, arrays: Sequence[bytes | memoryview], key: bytes | None = None
) -> ClosedBlob:
    """Join arrays, close them under a fresh key and sign, in memory that is made once.

    Args:
        key: that of an earlier blob of the same header and arrays, to make the very same payload again; never for
            others, because the nonce is constant.

    Raises:
        ValueError: the header is not a blob's.
    """
    if header.kind is not Kind.BLOB or header.recipient != EVERYONE or header.sealed:
        raise ValueError(f"not the header of a blob: {header}")
    key = key or secrets.token_bytes(CONTENT_KEY_BYTES)
    sizes = [len(data) for data in arrays]
    payload, at = begin(header, sum(sizes) + TAG_BYTES)
    with memoryview(payload) as view:
        end = at
        for data in arrays:
            view[end : end + len(data)] = data
            end += len(data)
        AESGCM(key).encrypt_into(NONCE, view[at:end], None, view[at : end + TAG_BYTES])
    return ClosedBlob(payload, BlobReference(sign(identity, payload), key, sizes))


def open_blob(
    payload: bytes | bytearray | memoryview, reference: BlobReference, *, in_place: bool = False
) -> bytes | memoryview:
    """The joined arrays.

    The hash came in a sealed and signed task, so a payload that matches it needs no further check of its sender.

    Args:
        in_place: open it into its own memory, which must be writable and is used up.

    Raises:
        Rejected: the payload is not the one that was referred to, or does not open.
    """
    if hashlib.sha256(payload).digest() != reference.digest:
        raise Rejected(Reason.MALFORMED, f"blob is not the one with hash {reference.digest.hex()[:16]}…")
    envelope = Envelope.parse(payload)
    if envelope.header.kind is not Kind.BLOB:
        raise Rejected(Reason.MALFORMED, f"a {envelope.header.kind} where a blob should be")
    cipher, body = AESGCM(reference.key), envelope.body
    if len(body) < TAG_BYTES:
        raise Rejected(Reason.CANNOT_OPEN, "blob")
    plain: bytes | memoryview
    try:
        if in_place:
            plain = body[:-TAG_BYTES]
            cipher.decrypt_into(NONCE, body, None, plain)
        else:
            plain = cipher.decrypt(NONCE, body, None)
    except InvalidTag as why:
        raise Rejected(Reason.CANNOT_OPEN, "blob") from why
    if min(reference.sizes, default=0) < 0 or sum(reference.sizes) != len(plain):
        raise Rejected(Reason.MALFORMED, f"blob has {len(plain)} bytes, its task says {sum(reference.sizes)}")
    return plain
