"""Files of diagnosis keys as Exposure Notification key servers publish them: read, verify, write.

An export is a zip of two files. `export.bin` is a header of 16 bytes and a protobuf message with the keys; `export.sig`
has signatures (ECDSA on P-256 with SHA-256) over all of `export.bin`. Nothing of a file is believed, nor its keys
unpacked, before a signature of the health authority's holds.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from privacy.tokens.archive import pack, unpack
from privacy.tokens.export_keys import Authority, Signer
from privacy.tokens.export_messages import ExportMessage, SignaturesMessage
from privacy.tokens.gaen import (
    DAY_INTERVALS,
    INTERVAL_S,
    KEY_BYTES,
    ONSET_DAYS,
    RISK_LEVELS,
    ReportType,
    TemporaryExposureKey,
)
from privacy.tokens.refusal import ExportReason, ExportRefused

__all__ = [
    "Authority",
    "DiagnosisKeys",
    "ExportReason",
    "ExportRefused",
    "Signer",
    "padded",
    "read_export",
    "write_export",
]

HEADER = b"EK Export v1".ljust(16)
DAY_S = 86400
CLOCK_SLACK_S = 7200
"""By so much a clock may be off, seconds; it is also how far from its time an identifier is still matched."""

KEPT_S = 14 * DAY_S
"""An export that ended longer ago than this, and a key likewise, can meet nothing that is still stored, seconds."""

OLDEST_KEY_S = 30 * DAY_S
"""No key server keeps keys for longer than this before it publishes them, seconds."""

MAX_KEYS = 200_000
KEY_MESSAGE_BYTES = 48
MAX_SIGNATURES = 10


class KeyStillInUse(ValueError):
    """A key was to be published that its owner's device still shows: who has it could pretend to be there."""


@dataclass(frozen=True, slots=True)
class DiagnosisKeys:
    """What one export says.

    Attributes:
        region: for which, as key servers write it (a country code, or what the health authority chose).
        starts_at: keys that reached the authority from this time on, seconds since the epoch,
        ends_at: until this one.
        keys: new ones.
        revised: those whose report changed, or was revoked.
        stale: how many more there were that ended too long ago to meet anything.
    """

    region: str
    starts_at: int
    ends_at: int
    keys: tuple[TemporaryExposureKey, ...]
    revised: tuple[TemporaryExposureKey, ...] = ()
    stale: int = 0

    def __post_init__(self) -> None:
        if not self.region:
            raise ValueError("an export is for a region")
        if not 0 <= self.starts_at < self.ends_at:
            raise ValueError(f"an export from {self.starts_at} to {self.ends_at} is about no time")


def padded(keys: Sequence[TemporaryExposureKey], at_least: int, jitter: int = 0) -> list[TemporaryExposureKey]:
    """The keys, and random ones beside them that say the same as some of them do, so that a small number does not show.

    Args:
        at_least: how many there are afterwards.
        jitter: up to so many more, by chance. With no real key there is nothing to hide among, and none are added.
    """
    missing = at_least + secrets.randbelow(jitter + 1) - len(keys) if keys else 0
    chosen = (secrets.choice(keys) for _ in range(missing))
    return [*keys, *(_with_key(like, secrets.token_bytes(KEY_BYTES)) for like in chosen)]


def write_export(export: DiagnosisKeys, signers: Signer | Sequence[Signer]) -> bytes:
    """A signed archive. Keys are ordered by their bytes, which are random: the order tells nothing of who sent them.

    Raises:
        KeyStillInUse: a key ended less than two hours before the export does.
    """
    for key in (*export.keys, *export.revised):
        if key.rolling_end * INTERVAL_S + CLOCK_SLACK_S > export.ends_at:
            raise KeyStillInUse(f"a key is in use until {key.rolling_end * INTERVAL_S}: leave it for a later export")
    signers = [signers] if isinstance(signers, Signer) else signers
    if not signers:
        raise ValueError("an export without a signature would be turned away everywhere: give a signer")
    message = ExportMessage(
        start_timestamp=export.starts_at, end_timestamp=export.ends_at, region=export.region, batch_num=1, batch_size=1
    )
    for signer in signers:
        message.signature_infos.add(**signer.names)
    for field, keys in ((message.keys, export.keys), (message.revised_keys, export.revised)):
        for key in sorted(keys, key=lambda one: one.key):
            field.add(**_said_of(key))
    contents = HEADER + message.SerializeToString(deterministic=True)
    signatures = SignaturesMessage()
    for signer, names in zip(signers, message.signature_infos, strict=True):
        signatures.signatures.add(signature_info=names, batch_num=1, batch_size=1, signature=signer.sign(contents))
    return pack(contents, signatures.SerializeToString(deterministic=True))


def read_export(
    archive: bytes,
    authorities: Authority | Sequence[Authority],
    *,
    region: str,
    now: float,
    max_keys: int = MAX_KEYS,
    exact: bool = False,
) -> DiagnosisKeys:
    """Verify an archive, and take its keys out. Keys that ended too long ago are left out and counted.

    Args:
        authorities: whose signature is believed; several while a key is replaced.
        region: what the export must be for.
        now: seconds since the epoch.
        exact: take only archives that are byte for byte as `write_export` packs them. Otherwise any zip program's will
            do, and bytes that carry nothing (a date in the archive's directory) are not looked at.

    Raises:
        ExportRefused: with one reason for the whole file.
    """
    contents, signatures = unpack(archive, len(HEADER) + 1024 + KEY_MESSAGE_BYTES * max_keys, exact=exact)
    trusted = [authorities] if isinstance(authorities, Authority) else authorities
    signed_by = _verified(contents, signatures, trusted)
    message = message_of(contents)
    if not any(names in message.signature_infos for names in signed_by):
        raise ExportRefused(ExportReason.MALFORMED, "contents name another signature than stands beside them")
    _check_export(message, region, now)
    if (count := len(message.keys) + len(message.revised_keys)) > max_keys:
        raise ExportRefused(ExportReason.TOO_MANY_KEYS, f"{count}, and {max_keys} are read at most")
    plausible = _plausible_from(message, now)
    keys, revised = ([_key_of(one, plausible) for one in field] for field in (message.keys, message.revised_keys))
    fresh, fresh_revised = (
        tuple(key for key in some if key.rolling_end * INTERVAL_S + CLOCK_SLACK_S >= now - KEPT_S)
        for some in (keys, revised)
    )
    stale = count - len(fresh) - len(fresh_revised)
    return DiagnosisKeys(message.region, message.start_timestamp, message.end_timestamp, fresh, fresh_revised, stale)


def message_of(contents: bytes) -> Any:
    """The protobuf message of an `export.bin`, not yet believed nor checked.

    Raises:
        ExportRefused: MALFORMED.
    """
    if contents[: len(HEADER)] != HEADER:
        raise ExportRefused(ExportReason.MALFORMED, f"contents do not begin with {HEADER.decode('ascii')!r}")
    try:
        message = ExportMessage.FromString(contents[len(HEADER) :])
        region_is_text = isinstance(message.region, str)  # one parser gives bytes where it is none, another raises
    except (DecodeError, UnicodeDecodeError) as why:
        raise ExportRefused(ExportReason.MALFORMED, "contents are no protobuf message of keys") from why
    if not region_is_text:
        raise ExportRefused(ExportReason.MALFORMED, "the region is no text")
    return message


def _verified(contents: bytes, signatures: bytes, trusted: Iterable[Authority]) -> list[Any]:
    """What the trusted signatures that hold say of themselves; at least one."""
    try:
        given = SignaturesMessage.FromString(signatures).signatures
        named = [(one, by) for one in given for by in trusted if by.is_named_by(one.signature_info)]
    except (DecodeError, UnicodeDecodeError) as why:
        raise ExportRefused(ExportReason.MALFORMED, "signatures are no protobuf message of signatures") from why
    if not given:
        raise ExportRefused(ExportReason.UNSIGNED, "no signature beside the contents")
    if len(given) > MAX_SIGNATURES:
        raise ExportRefused(ExportReason.TOO_LARGE, f"{len(given)} signatures, {MAX_SIGNATURES} are looked at")
    if not named:
        raise ExportRefused(
            ExportReason.WRONG_KEY, "no signature names the health authority's key: check region and authority_key"
        )
    good = [one for one, by in named if by.verifies(one.signature, contents)]
    if not good:
        raise ExportRefused(ExportReason.BAD_SIGNATURE, "contents were changed, or signed with another's key")
    if any((one.batch_num, one.batch_size) != (1, 1) for one in good):
        raise ExportRefused(ExportReason.SEVERAL_BATCHES, "ask for exports of one file each")
    return [one.signature_info for one in good]


def _check_export(message: Any, region: str, now: float) -> None:
    starts_at, ends_at = message.start_timestamp, message.end_timestamp
    if message.region != region:
        raise ExportRefused(ExportReason.WRONG_REGION, f"it is for {message.region[:40]!r}, here is {region!r}")
    if (message.batch_num, message.batch_size) != (1, 1):
        raise ExportRefused(
            ExportReason.SEVERAL_BATCHES,
            f"file {message.batch_num} of {message.batch_size}; ask for exports of one file each",
        )
    if not starts_at < ends_at:
        raise ExportRefused(ExportReason.MALFORMED, f"from {starts_at} to {ends_at}")
    if ends_at > now + CLOCK_SLACK_S:
        raise ExportRefused(ExportReason.NOT_YET, f"it ends at {ends_at}, now is {now:.0f}: check this clock")
    if ends_at < now - KEPT_S:
        raise ExportRefused(ExportReason.EXPIRED, f"it ended at {ends_at}, now is {now:.0f}")


def _plausible_from(message: Any, now: float) -> Callable[[int, int], bool]:
    """Whether a key of an export can be in use from one interval to another."""
    latest = min(now + CLOCK_SLACK_S, message.end_timestamp)
    earliest = message.start_timestamp - OLDEST_KEY_S
    return lambda start, end: start >= 0 and start * INTERVAL_S <= latest and end * INTERVAL_S >= earliest


def _key_of(said: Any, plausible: Callable[[int, int], bool]) -> TemporaryExposureKey:
    start, period = said.rolling_start_interval_number, said.rolling_period
    onset = said.days_since_onset_of_symptoms if said.HasField("days_since_onset_of_symptoms") else None
    if len(said.key_data) != KEY_BYTES:
        raise ExportRefused(ExportReason.KEY_LENGTH, f"{len(said.key_data)} bytes where {KEY_BYTES} belong")
    if not 1 <= period <= DAY_INTERVALS:
        raise ExportRefused(ExportReason.ROLLING_PERIOD, f"{period} intervals, of a day's {DAY_INTERVALS}")
    if not plausible(start, start + period):
        raise ExportRefused(ExportReason.KEY_START, f"interval {start}")
    if not 0 <= said.transmission_risk_level <= RISK_LEVELS or abs(onset or 0) > ONSET_DAYS:
        raise ExportRefused(ExportReason.KEY_VALUES, f"risk {said.transmission_risk_level}, onset {onset}")
    return TemporaryExposureKey(
        said.key_data, start, period, said.transmission_risk_level, ReportType(said.report_type), onset
    )


def _said_of(key: TemporaryExposureKey) -> dict[str, object]:
    said: dict[str, object] = {
        "key_data": key.key,
        "transmission_risk_level": key.transmission_risk,
        "rolling_start_interval_number": key.rolling_start,
        "rolling_period": key.rolling_period,
    }
    if key.report_type is not ReportType.UNKNOWN:
        said["report_type"] = int(key.report_type)
    if key.days_since_onset is not None:
        said["days_since_onset_of_symptoms"] = key.days_since_onset
    return said


def _with_key(like: TemporaryExposureKey, key: bytes) -> TemporaryExposureKey:
    return TemporaryExposureKey(
        key, like.rolling_start, like.rolling_period, like.transmission_risk, like.report_type, like.days_since_onset
    )
