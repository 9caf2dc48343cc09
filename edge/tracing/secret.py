"""The secret that a node shares with the site's own server, so that the server can tell its alerts from others."""

from __future__ import annotations

from pathlib import Path

from privacy.identity.secret import Secret

SECRET_CHARACTERS = 16


class BadSecret(ValueError):
    """The file holds no secret; the message says what to do."""


def read_secret(path: Path) -> Secret:
    """The secret in a file, without white space around it.

    Raises:
        BadSecret: it is not there, or too short to be one.
    """
    try:
        secret = path.read_bytes().strip()
    except OSError as why:
        raise BadSecret(f"{path}: no secret there ({why.strerror}); make one with `openssl rand -hex 32`") from why
    if len(secret) < SECRET_CHARACTERS:
        raise BadSecret(f"{path}: a secret has {SECRET_CHARACTERS} characters or more, this one {len(secret)}")
    return Secret(secret)
