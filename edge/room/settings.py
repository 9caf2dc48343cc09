"""What the hub's reception is told: one line of JSON on its standard input, where no other user can read the key."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.config import NodeConfig
from edge.page.address import Listen
from edge.settings_line import check_store_key, decode
from edge.store.database import Database
from privacy.identity.secret import Secret


class BadSettings(ValueError):
    """The settings cannot be read; the message names the field, never its value."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the reception.

    Attributes:
        database: path of the node's store.
        key: its key.
        credentials: folder of the node's keys and certificate.
        listen: address and port.
        receivers: number of the receiver that each satellite stands for, by its party name.
    """

    database: str
    key: Secret
    credentials: str
    listen: str
    receivers: dict[str, int]

    def __post_init__(self) -> None:
        check_store_key(self.key)
        Listen.parse(self.listen)

    def store(self) -> Database:
        return Database(Path(self.database), self.key)


def reception_settings(config: NodeConfig, key: Secret) -> Settings | None:
    """From the node's configuration; None where this node is no hub.

    Args:
        key: of the store.
    """
    hub = config.site.reception
    if hub is None:
        return None
    receivers = {satellite.party: satellite.receiver for satellite in hub.satellites}
    return Settings(str(config.store.path), key, str(config.credentials), hub.listen, receivers)


def read_settings(line: str | bytes) -> Settings:
    """Settings from JSON.

    Raises:
        BadSettings: says which field is wrong.
    """
    try:
        return decode(line, Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"settings of the reception: {error}") from error
