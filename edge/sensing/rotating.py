"""What a device with a secret shows: an identifier that rotates every ten minutes, with metadata beside it."""

from __future__ import annotations

import hmac
from typing import Literal

from edge.sensing.formats import gaen as gaen_format
from edge.sensing.formats import tag as tag_format
from privacy.tokens import gaen, tags
from privacy.tokens.gaen import DAY_INTERVALS, INTERVAL_S, Metadata, TemporaryExposureKey

Format = Literal["gaen", "tag"]
ENCODE = {"gaen": gaen_format.encode, "tag": tag_format.encode}


def secret_of(seed: int, name: str) -> bytes:
    """The secret of a simulated device, 32 bytes; the same in every process that knows the seed.

    Raises:
        ValueError: the seed is no unsigned 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed {seed} is not within 0..2**64-1")
    return hmac.digest(seed.to_bytes(8, "big"), b"jaga simulated device " + name.encode(), "sha256")


class Rotating:
    """One device. Its identifiers are those of an enrolled tag with this secret, so its keys can be published.

    Args:
        secret: 32 bytes.
        shown_as: what its frames look like.
        tx_power_dbm: what it says of its radiated power, dBm.
    """

    __slots__ = ("_ad", "_encode", "_interval", "_key", "_metadata", "_secret")

    def __init__(self, secret: bytes, shown_as: Format = "tag", tx_power_dbm: int = 0) -> None:
        self._secret = secret
        self._encode = ENCODE[shown_as]
        self._metadata = Metadata(tx_power_dbm)
        self._key: TemporaryExposureKey | None = None
        self._interval = -1
        self._ad = b""

    def ad(self, at_s: float) -> bytes:
        """Its advertising data at that time, seconds since the epoch.

        Raises:
            ValueError: the time is before the epoch.
        """
        interval = int(at_s // INTERVAL_S)
        if interval != self._interval:
            day = interval // DAY_INTERVALS
            if self._key is None or self._key.rolling_start != day * DAY_INTERVALS:
                self._key = tags.exposure_key(self._secret, day)
            identifier = gaen.identifier(self._key, interval)
            self._ad = self._encode(identifier, gaen.encrypt_metadata(self._key, identifier, self._metadata))
            self._interval = interval
        return self._ad


def rotates_at(at_s: float) -> float:
    """When the identifier of that time is over, seconds since the epoch."""
    return (at_s // INTERVAL_S + 1) * INTERVAL_S
