"""Exports: diagnosis keys of a region, filled up with made-up ones, signed inside (P-256) and outside (envelope)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from aggregator.config import BadConfig
from aggregator.keys.config import ExportsTable, HealthConfig
from aggregator.keys.records import KEPT_S, StoredExport
from privacy.boundary.envelope import wrap
from privacy.boundary.messages import EVERYONE, MESSAGE_ID_BYTES, CaseKey, Header, Keys, Kind
from privacy.identity.authority import Identity
from privacy.identity.keys import write_private
from privacy.tokens.export import DiagnosisKeys, Signer, padded, write_export
from privacy.tokens.export_keys import BadSigningKey
from privacy.tokens.gaen import ReportType, TemporaryExposureKey


@dataclass(frozen=True, slots=True)
class Exporter:
    """Makes exports of one health authority."""

    identity: Identity
    signer: Signer
    rules: ExportsTable

    def make(self, region: str, keys: Sequence[CaseKey], starts_at: float, ends_at: float) -> list[StoredExport]:
        """Exports that hold each key once, in as few files as `max_keys` allows; each of them is whole by itself.

        Args:
            keys: at least one; all of them ended long enough before `ends_at`.
            starts_at: end of the region's last export, seconds since the epoch.
            ends_at: a whole window.

        Raises:
            KeyStillInUse: a key's owner may be sending it still.
        """
        real = [_tek(key) for key in keys]
        secrets.SystemRandom().shuffle(real)
        parts = [real[at : at + self.rules.max_keys] for at in range(0, len(real), self.rules.max_keys)]
        return [self._export(region, part, number, starts_at, ends_at) for number, part in enumerate(parts, start=1)]

    def _export(
        self, region: str, real: list[TemporaryExposureKey], number: int, starts_at: float, ends_at: float
    ) -> StoredExport:
        keys = padded(real, self.rules.min_keys, self.rules.padding_range)
        batch = f"{int(ends_at)}-{number}"
        export = write_export(DiagnosisKeys(region, int(starts_at), int(ends_at), tuple(keys)), self.signer)
        header = Header(
            Kind.KEYS,
            self.identity.certificate.federation,
            self.identity.party,
            EVERYONE,
            0,
            secrets.token_bytes(MESSAGE_ID_BYTES),
            None,
            ends_at,  # and not the moment it was made, which would be the only time in it that is no whole window
            ends_at + KEPT_S,
            False,
        )
        payload = bytes(wrap(self.identity, header, Keys(region, batch, export)))
        return StoredExport(region, batch, starts_at, ends_at, len(keys), payload, None)


def exporter_of(config: HealthConfig, identity: Identity) -> Exporter:
    """From the configuration.

    Raises:
        BadConfig: the export key is missing or cannot be used; says how to make one.
    """
    try:
        pem = config.export_key.read_bytes()
        signer = Signer.of_pem(pem, config.export_key_id, config.export_key_version)
    except OSError as why:
        raise BadConfig(f"{config.export_key}: no export key there ({why.strerror}); restore its backup") from why
    except BadSigningKey as why:
        raise BadConfig(f"{config.export_key}: {why}") from why
    return Exporter(identity, signer, config.exports)


def make_export_key(private: Path, public: Path, key_id: str, version: str) -> Signer:
    """A new key: the private half for the authority's eyes only, the public one for every node."""
    signer = Signer.create(key_id, version)
    pkcs8 = signer.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(private, pkcs8)
    spki = signer.private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    public.write_bytes(spki)
    return signer


def _tek(key: CaseKey) -> TemporaryExposureKey:
    return TemporaryExposureKey(
        key.key,
        key.rolling_start,
        key.rolling_period,
        report_type=ReportType.CONFIRMED_TEST,
        days_since_onset=key.days_since_onset,
    )
