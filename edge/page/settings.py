"""What the page's process is told: one line of JSON on its standard input, where no other user can read the key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edge.page.address import Listen
from edge.store.database import KEY_BYTES, Database

Language = Literal["id", "en"]
Mode = Literal["zone", "room", "person"]


class BadSettings(ValueError):
    """The settings cannot be read; the message names the field, never its value."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the page.

    Attributes:
        database: path of the node's store.
        key: its key, 64 hexadecimal digits.
        site: the site's name, for people.
        listen: address and port.
        certificate, private_key: PEM files for TLS; both or none.
        hosts: names under which the page may be asked for, beside this machine's own.
        timezone: of what is shown, an IANA name.
        language: for browsers that ask for none of the page's languages.
        idle_s: a session ends after this long without use, seconds.
        session_s: and after this long in any case, seconds.
        mode, room: how the site uses this node.
        replay: whether recorded contacts stand in for the radio.
        listens: whether this node has a scanner at all.
        traces: whether it looks for diagnosis keys.
        retention_days, epsilon, delta, record_lifetime_days: as in the node's configuration.
    """

    database: str
    key: str
    site: str
    listen: str = "127.0.0.1:8080"
    certificate: str | None = None
    private_key: str | None = None
    hosts: list[str] = []
    timezone: str = "Asia/Jakarta"
    language: Language = "id"
    idle_s: float = 900.0
    session_s: float = 8 * 3600.0
    mode: Mode = "zone"
    room: str = ""
    replay: bool = False
    listens: bool = True
    traces: bool = False
    retention_days: float = 14.0
    epsilon: float = 8.0
    delta: float = 1e-6
    record_lifetime_days: float = 15.0

    def __post_init__(self) -> None:
        try:
            right = len(bytes.fromhex(self.key)) == KEY_BYTES
        except ValueError:
            right = False
        if not right:
            raise ValueError(f"key is not {2 * KEY_BYTES} hexadecimal digits")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key come together, or not at all")
        if not Listen.parse(self.listen).loopback and not self.tls:
            raise ValueError(f"listen is {self.listen}, which others can reach: it needs a certificate")

    @property
    def tls(self) -> bool:
        return self.certificate is not None

    def store(self) -> Database:
        return Database(Path(self.database), bytes.fromhex(self.key))


def read_settings(line: str | bytes) -> Settings:
    """Settings from JSON.

    Raises:
        BadSettings: says which field is wrong.
    """
    try:
        return msgspec.json.decode(line, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"settings of the page: {error}") from error
