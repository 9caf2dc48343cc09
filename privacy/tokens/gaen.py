"""Rotating identifiers: the key derivations of Exposure Notification v1.2.

Source: Apple and Google, *Exposure Notification: Cryptography Specification* v1.2 and *Bluetooth Specification* v1.2,
April 2020. A device draws a temporary exposure key (TEK) a day. From it follow the rolling proximity identifiers (RPI)
that it advertises, one every ten minutes, and the mask over the four bytes of metadata (AEM) beside each. Who has not
the key cannot tell two identifiers of one device from those of two.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 16
IDENTIFIER_BYTES = 16
METADATA_BYTES = 4
INTERVAL_S = 600
"""Length of an interval, seconds: for so long one identifier is on the air. An ENIN is `seconds // INTERVAL_S`."""

DAY_INTERVALS = 144
TX_POWER_DBM = (-127, 20)
"""What a Bluetooth radio can say of its power, dBm."""

MAJOR_VERSION_MASK, MAJOR_VERSION = 0b1100_0000, 0b0100_0000
VERSION_1_0, VERSION_1_1 = 0x40, 0x50
ONSET_DAYS = 14
RISK_LEVELS = 8

_SHA256, _ECB = SHA256(), modes.ECB()  # noqa: S305  (one block a message: this is how the specification uses AES)


class BadMetadata(ValueError):
    """Four bytes that are no metadata of version 1: decrypted with another's key, or changed on the air."""


class ReportType(IntEnum):
    """Why a key was published."""

    UNKNOWN = 0
    CONFIRMED_TEST = 1
    CONFIRMED_CLINICAL_DIAGNOSIS = 2
    SELF_REPORT = 3
    RECURSIVE = 4
    REVOKED = 5


@dataclass(frozen=True, slots=True)
class TemporaryExposureKey:
    """One device's key of one day.

    Attributes:
        key: 16 random bytes; never in a log, which is why `repr` leaves them out.
        rolling_start: first interval (ENIN) of the key.
        rolling_period: for how many intervals it was in use, 1 to 144.
        transmission_risk: 0 to 8, as exports of 2020 carry it.
        days_since_onset: days from the onset of symptoms to the key's day, -14 to 14; None where it is not said.
    """

    key: bytes
    rolling_start: int
    rolling_period: int = DAY_INTERVALS
    transmission_risk: int = 0
    report_type: ReportType = ReportType.UNKNOWN
    days_since_onset: int | None = None

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, this one {len(self.key)}")
        if not 1 <= self.rolling_period <= DAY_INTERVALS:
            raise ValueError(f"a key rolls for 1 to {DAY_INTERVALS} intervals, this one for {self.rolling_period}")
        if not 0 <= self.rolling_start <= 0xFFFF_FFFF - self.rolling_period:
            raise ValueError(f"interval {self.rolling_start} is no time that 32 bits can count to")
        if not 0 <= self.transmission_risk <= RISK_LEVELS:
            raise ValueError(f"a transmission risk is 0 to {RISK_LEVELS}, this one {self.transmission_risk}")
        if self.days_since_onset is not None and abs(self.days_since_onset) > ONSET_DAYS:
            raise ValueError(f"{self.days_since_onset} days since onset are outside -{ONSET_DAYS} to {ONSET_DAYS}")

    def __repr__(self) -> str:
        return f"TemporaryExposureKey(rolling_start={self.rolling_start}, rolling_period={self.rolling_period})"

    @property
    def rolling_end(self) -> int:
        """First interval in which the key is no longer used."""
        return self.rolling_start + self.rolling_period


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is said beside an identifier, version 1.

    Attributes:
        tx_power_dbm: radiated power at which it is sent, dBm.
        version: 0x40 (1.0), or 0x50 (1.1) with the confidence in its calibration in bits 3 and 2.
    """

    tx_power_dbm: int
    version: int = VERSION_1_0

    def __post_init__(self) -> None:
        low, high = TX_POWER_DBM
        if not 0 <= self.version <= 0xFF or self.version & MAJOR_VERSION_MASK != MAJOR_VERSION:
            raise BadMetadata(f"version byte {self.version:#04x} is not of major version 1")
        if not low <= self.tx_power_dbm <= high:
            raise BadMetadata(f"transmit power {self.tx_power_dbm} dBm is outside {low} to {high} dBm")

    @classmethod
    def parse(cls, plain: bytes) -> Metadata:
        """Read four decrypted bytes; the last two are reserved and not looked at.

        Raises:
            BadMetadata: another length, major version, or a power that no radio has.
        """
        if len(plain) != METADATA_BYTES:
            raise BadMetadata(f"metadata has {METADATA_BYTES} bytes, this one {len(plain)}")
        version, tx_power_dbm = struct.unpack_from("<Bb", plain)
        return cls(tx_power_dbm, version)

    def __bytes__(self) -> bytes:
        return struct.pack("<Bbxx", self.version, self.tx_power_dbm)


def interval_of(t: float) -> int:
    """The interval (ENIN) that holds time `t`, seconds since the epoch."""
    return int(t // INTERVAL_S)


def identifier_key(tek: TemporaryExposureKey) -> bytes:
    """RPIK, 16 bytes."""
    return _derive(tek.key, b"EN-RPIK")


def metadata_key(tek: TemporaryExposureKey) -> bytes:
    """AEMK, 16 bytes."""
    return _derive(tek.key, b"EN-AEMK")


def identifiers(tek: TemporaryExposureKey) -> bytes:
    """All identifiers of a key in the order of their intervals, `rolling_period` x 16 bytes."""
    return _encrypt(identifier_key(tek), _padded(tek.rolling_start, tek.rolling_period))


def identifier(tek: TemporaryExposureKey, interval: int) -> bytes:
    """The identifier of one interval, 16 bytes.

    Raises:
        ValueError: the key is not used then.
    """
    if not tek.rolling_start <= interval < tek.rolling_end:
        raise ValueError(f"interval {interval} is outside the key's {tek.rolling_start} to {tek.rolling_end - 1}")
    return _encrypt(identifier_key(tek), _padded(interval, 1))


def metadata_masks(tek: TemporaryExposureKey, heard: bytes) -> bytes:
    """What lies over the metadata beside each of `heard` (n x 16 bytes): AES-CTR's first block each, n x 16 bytes.

    Only the first four bytes of each block are used. Encrypting and decrypting is one exclusive or with them.
    """
    return _encrypt(metadata_key(tek), heard)


def encrypt_metadata(tek: TemporaryExposureKey, advertised: bytes, metadata: Metadata) -> bytes:
    """The four bytes (AEM) that go beside the identifier `advertised`. They are hidden, not signed."""
    return _masked(tek, advertised, bytes(metadata))


def decrypt_metadata(tek: TemporaryExposureKey, advertised: bytes, encrypted: bytes) -> Metadata:
    """What was sent beside the identifier `advertised`.

    Raises:
        BadMetadata: what comes out makes no sense.
    """
    if len(encrypted) != METADATA_BYTES:
        raise BadMetadata(f"metadata has {METADATA_BYTES} bytes, this one {len(encrypted)}")
    return Metadata.parse(_masked(tek, advertised, encrypted))


def _masked(tek: TemporaryExposureKey, advertised: bytes, four: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(four, metadata_masks(tek, advertised), strict=False))


def _derive(key: bytes, info: bytes) -> bytes:
    return HKDF(_SHA256, KEY_BYTES, None, info).derive(key)


def _encrypt(key: bytes, blocks: bytes) -> bytes:
    return Cipher(algorithms.AES128(key), _ECB).encryptor().update(blocks)


@lru_cache(maxsize=64)
def _padded(start: int, count: int) -> bytes:
    """The blocks that encrypt to identifiers; the keys of one day share them (2304 bytes a day)."""
    return b"".join(struct.pack("<6s6xI", b"EN-RPI", interval) for interval in range(start, start + count))
