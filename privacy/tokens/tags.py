"""The keys of our own tags: every day's key follows from one secret, so that a tag is enrolled once.

Whoever has the secret has every day's key, past and to come: it stays on the tag and in the encrypted store of the site
that enrolled it. What is published of a case are keys of single days, and no day's key tells of another's.
"""

from __future__ import annotations

import secrets
import struct

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.tokens import gaen
from privacy.tokens.gaen import DAY_INTERVALS, IDENTIFIER_BYTES, KEY_BYTES, TemporaryExposureKey

SECRET_BYTES = 32


def new_secret() -> bytes:
    """A new tag's secret, 32 bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def day_key(secret: bytes, day: int) -> bytes:
    """A tag's key of one day, UTC, 16 bytes: HKDF-SHA256(secret, info = "JAGA-TEK" | day as 32 bits, big-endian).

    Raises:
        ValueError: the secret has another length, or the day is before the epoch or past what 32 bits count to.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a tag's secret has {SECRET_BYTES} bytes, this one {len(secret)}")
    if not 0 <= day < 2**32 // DAY_INTERVALS:
        raise ValueError(f"day {day} is not one that a key can start on")
    return HKDF(SHA256(), KEY_BYTES, None, b"JAGA-TEK" + struct.pack(">I", day)).derive(secret)


def exposure_key(secret: bytes, day: int) -> TemporaryExposureKey:
    """The same, with the time for which it is good: from the day's first interval to its last."""
    return TemporaryExposureKey(day_key(secret, day), day * DAY_INTERVALS)


def identifiers(secret: bytes, day: int) -> list[bytes]:
    """What a tag advertises on one day: 144 identifiers of 16 bytes, in order."""
    together = gaen.identifiers(exposure_key(secret, day))
    return [together[at : at + IDENTIFIER_BYTES] for at in range(0, len(together), IDENTIFIER_BYTES)]
