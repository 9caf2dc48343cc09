"""The page's secret: 32 random bytes in the store, and what is made from them."""

from __future__ import annotations

import hmac
import secrets

from edge.store.connection import Connection
from edge.store.meta import Meta
from privacy.identity.secret import Secret

SECRET = "page secret"  # noqa: S105  (the name of a fact in the store)
SECRET_BYTES = 32


def page_secret(store: Connection) -> Secret:
    """The secret, made at the first call. With another one every session ends."""
    return Secret(Meta(store).get_or_make(SECRET, lambda: secrets.token_bytes(SECRET_BYTES)))


def account_mark(secret: Secret, name: str) -> bytes:
    """What stands for a typed name in the count of failures: HMAC-SHA256, 32 bytes."""
    return hmac.digest(secret.reveal(), b"jaga account " + name.encode(), "sha256")
