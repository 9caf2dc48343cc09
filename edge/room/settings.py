"""What the hub's reception is told: one line of JSON on its standard input, where no other user can read the key."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.config import NodeConfig
from edge.page.address import Listen
from edge.store.database import KEY_BYTES, Database


class BadSettings(ValueError):
    """The settings cannot be read; the message names the field, never its value."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the reception.

    Attributes:
        database: path of the node's store.
        key: its key, 64 hexadecimal digits.
        credentials: folder of the node's keys and certificate.
        listen: address and port.
        receivers: number of the receiver that each satellite stands for, by its party name.
    """

    database: str
    key: str
    credentials: str
    listen: str
    receivers: dict[str, int]

    def __post_init__(self) -> None:
        try:
            right = len(bytes.fromhex(self.key)) == KEY_BYTES
        except ValueError:
            right = False
        if not right:
            raise ValueError(f"key is not {2 * KEY_BYTES} hexadecimal digits")
        Listen.parse(self.listen)

    def store(self) -> Database:
        return Database(Path(self.database), bytes.fromhex(self.key))


def reception_settings(config: NodeConfig, key: bytes) -> Settings | None:
    """From the node's configuration; None where this node is no hub.

    Args:
        key: of the store.
    """
    hub = config.site.reception
    if hub is None:
        return None
    receivers = {satellite.party: satellite.receiver for satellite in hub.satellites}
    return Settings(str(config.store.path), key.hex(), str(config.credentials), hub.listen, receivers)


def read_settings(line: str | bytes) -> Settings:
    """Settings from JSON.

    Raises:
        BadSettings: says which field is wrong.
    """
    try:
        return msgspec.json.decode(line, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"settings of the reception: {error}") from error
