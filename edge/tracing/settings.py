"""What the tracing process is told: one line of JSON on its standard input, where no other user can read the keys."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.config import BadConfig, NodeConfig
from edge.settings_line import check_store_key, decode
from edge.store.database import Database
from edge.store.site import Mode
from edge.tracing.secret import read_secret
from privacy.identity.secret import Secret


class BadSettings(ValueError):
    """The settings cannot be read; the message names the field, never its value."""


class ReceiverSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One receiver of the site."""

    number: int
    room: str
    x_m: float
    y_m: float


class WebhookSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The site's own server, and the secret shared with it."""

    url: str
    secret: Secret
    authority: str | None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the tracing process; see `edge.config` for what they mean.

    Attributes:
        key: of the store.
        authority_pem: the health authority's public key.
        adapters: names of the node's own, as they were calibrated; their place is the receiver's number.
    """

    database: str
    key: Secret
    region: str
    authority_pem: str
    authority_key_id: str
    authority_key_version: str
    mode: Mode
    room: str
    wearer: str
    receivers: tuple[ReceiverSection, ...]
    adjacent: tuple[tuple[str, str], ...]
    adapters: tuple[str, ...]
    tx_power_dbm: float
    attenuation_db: tuple[float, float, float]
    weights: tuple[float, float, float, float]
    infectiousness: tuple[float, float]
    alert_minutes: float
    webhook: WebhookSection | None

    def __post_init__(self) -> None:
        check_store_key(self.key)

    def store(self) -> Database:
        return Database(Path(self.database), self.key)


def settings_of(config: NodeConfig, key: Secret) -> Settings | None:
    """From the node's configuration; None where it does not trace.

    Args:
        key: of the store.

    Raises:
        BadConfig: the authority's key or the webhook's secret cannot be read.
    """
    tracing, site = config.tracing, config.site
    if tracing.region is None or tracing.authority_key is None:
        return None
    webhook = None
    try:
        authority_pem = tracing.authority_key.read_text("ascii")
        if tracing.webhook is not None and tracing.webhook_secret is not None:
            authority = None if tracing.webhook_authority is None else str(tracing.webhook_authority)
            webhook = WebhookSection(tracing.webhook, read_secret(tracing.webhook_secret), authority)
    except (OSError, ValueError) as why:
        raise BadConfig(f"[tracing]: {why}") from why
    return Settings(
        database=str(config.store.path),
        key=key,
        region=tracing.region,
        authority_pem=authority_pem,
        authority_key_id=tracing.authority_key_id,
        authority_key_version=tracing.authority_key_version,
        mode=site.mode,
        room=site.room,
        wearer=site.wearer,
        receivers=tuple(ReceiverSection(r.number, r.room, r.x_m, r.y_m) for r in site.receivers),
        adjacent=site.adjacent,
        adapters=config.sensing.adapters,
        tx_power_dbm=site.tx_power_dbm,
        attenuation_db=tracing.attenuation_db,
        weights=tracing.weights,
        infectiousness=tracing.infectiousness,
        alert_minutes=tracing.alert_minutes,
        webhook=webhook,
    )


def read_settings(line: str | bytes) -> Settings:
    """Settings from JSON.

    Raises:
        BadSettings: says which field is wrong.
    """
    try:
        return decode(line, Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"settings of the tracing process: {error}") from error
