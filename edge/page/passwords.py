"""Passwords of staff: Argon2id (RFC 9106), kept as PHC strings."""

from __future__ import annotations

import os
import unicodedata
from functools import cache

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MEMORY_KIB, ITERATIONS, LANES = 32 * 1024, 3, 1
"""More than OWASP's least (19 MiB, 2 iterations, 1 lane), and still bearable beside all else on a Pi."""
SALT_BYTES, DIGEST_BYTES = 16, 32
SHORTEST, LONGEST = 10, 128
FEWEST_DIFFERENT = 5


class WeakPassword(ValueError):
    """A password that cannot be used.

    Attributes:
        reason: name of the text that says why.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_strength(password: str, name: str) -> None:
    """Length is what counts (NIST SP 800-63B); no rules about digits and signs.

    Raises:
        WeakPassword: too short, too long, made of the account's name, or of very few different characters.
    """
    length = len(_normal(password))
    if length < SHORTEST:
        raise WeakPassword("password.short", f"a password has at least {SHORTEST} characters: take three or four words")
    if length > LONGEST:
        raise WeakPassword("password.long", f"a password has at most {LONGEST} characters")
    if name in password.lower() or len(set(password)) < FEWEST_DIFFERENT:
        raise WeakPassword(
            "password.simple",
            f"the password holds the account's name, or fewer than {FEWEST_DIFFERENT} different characters: "
            "take three or four words",
        )


def hashed(password: str) -> str:
    """A PHC string, with a salt of its own."""
    return Argon2id(
        salt=os.urandom(SALT_BYTES),
        length=DIGEST_BYTES,
        iterations=ITERATIONS,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    ).derive_phc_encoded(_normal(password).encode())


def verified(password: str, phc: str | None) -> bool:
    """Whether the password is right; None, for an account that does not exist, takes as long as a wrong password."""
    normal = _normal(password)
    possible = phc is not None and len(normal) <= LONGEST
    try:
        Argon2id.verify_phc_encoded(normal[:LONGEST].encode(), phc if phc and possible else _nobodys())
    except InvalidKey:
        return False
    return possible


@cache
def _nobodys() -> str:
    """The hash of a password that nobody knows."""
    return hashed(os.urandom(16).hex())


def _normal(password: str) -> str:
    """The same on every keyboard (NIST SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
