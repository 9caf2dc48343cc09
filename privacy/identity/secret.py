"""Secret: bytes of a key, a seed or a password that no log, traceback or message shows by accident.

Only `reveal` gives the bytes. `str`, `repr` and formatting give a fixed text, pickling fails, and two secrets are
compared in constant time. A message to another process of the node carries a secret when it is encoded with `as_hex`
(JSON) or `as_bytes` (msgpack) and decoded with `secret_of`; msgspec takes them as `enc_hook` and `dec_hook`.
"""

from __future__ import annotations

import hmac
from typing import Any, Never, Self, final

REDACTED = "<secret>"


class BadSecretValue(ValueError):
    """A value does not encode a secret of the expected length; the message does not quote it."""


@final
class Secret:
    """Secret bytes."""

    __slots__ = ("_revealed",)
    _revealed: bytes

    def __init__(self, revealed: bytes) -> None:
        object.__setattr__(self, "_revealed", bytes(revealed))

    @classmethod
    def of(cls, value: bytes | Secret) -> Secret:
        """The secret itself, or a secret of these bytes."""
        return value if isinstance(value, Secret) else cls(value)

    def reveal(self) -> bytes:
        """The bytes. Use them at once; keep the secret instead."""
        return self._revealed

    def __len__(self) -> int:
        return len(self._revealed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._revealed, other._revealed)

    def __hash__(self) -> int:
        return hash((Secret, self._revealed))

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError("a secret does not change")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError("a secret does not change")

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a secret is not pickled: encode it where it has to cross to another process")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def as_hex(value: Any) -> str:
    """Encode a secret for JSON; `enc_hook` of msgspec."""
    return _secret(value).reveal().hex()


def as_bytes(value: Any) -> bytes:
    """Encode a secret for msgpack; `enc_hook` of msgspec."""
    return _secret(value).reveal()


def secret_of(kind: type, value: Any) -> Secret:
    """Decode a secret from either; `dec_hook` of msgspec.

    Raises:
        BadSecretValue: it is neither bytes nor hexadecimal digits.
    """
    if kind is not Secret:
        raise NotImplementedError(f"no type {kind.__name__} is expected here")
    if isinstance(value, bytes | memoryview):
        return Secret(bytes(value))
    try:
        return Secret(bytes.fromhex(value))
    except (TypeError, ValueError):
        # Without the cause: it quotes the value.
        raise BadSecretValue("expected hexadecimal digits") from None


def _secret(value: Any) -> Secret:
    if not isinstance(value, Secret):
        raise NotImplementedError(f"{type(value).__name__} cannot be encoded")
    return value
