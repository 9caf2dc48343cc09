"""The line of JSON that tells a child process its settings, secrets among them, on standard input."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from edge.store.database import KEY_BYTES
from privacy.identity.secret import Secret, as_hex, secret_of

Settings = TypeVar("Settings", bound=msgspec.Struct)


def encode(settings: msgspec.Struct) -> bytes:
    """The line; secrets are written in hexadecimal digits."""
    return msgspec.json.encode(settings, enc_hook=as_hex) + b"\n"


def decode(line: str | bytes, kind: type[Settings]) -> Settings:
    """The settings again.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: the line is not such settings.
    """
    return msgspec.json.decode(line, type=kind, dec_hook=secret_of)


def check_store_key(key: Secret) -> None:
    """
    Raises:
        ValueError: the key has another length than a store's key.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"key is not {2 * KEY_BYTES} hexadecimal digits")
