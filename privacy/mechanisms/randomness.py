"""Random words that no output of ours can reveal, for every mechanism on a node.

Each `RandomWords` takes a fresh 256-bit key from the operating system and runs AES-256 in counter mode, the
construction of NIST's CTR_DRBG (SP 800-90A).
"""

from __future__ import annotations

import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

WORD_BYTES = 8


class RandomWords:
    """A stream of 64-bit words."""

    def __init__(self) -> None:
        self._stream = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16))).encryptor()

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next n, uint64 [n]."""
        room = bytearray(WORD_BYTES * n + 16)
        self._stream.update_into(bytes(WORD_BYTES * n), room)
        return np.frombuffer(room, np.uint64, n)

    def below(self, bound: int, n: int) -> NDArray[np.int64]:
        """n whole numbers from 0 to `bound` - 1, each as likely as any other: words that would favour some are dropped.

        Raises:
            ValueError: the bound is below 1 or above 2**62.
        """
        if not 1 <= bound <= 2**62:
            raise ValueError(f"bound {bound} is not in 1..2**62")
        usable = np.uint64((2**64 // bound) * bound - 1)
        found = np.empty(0, np.int64)
        while len(found) < n:
            drawn = self.words(n - len(found))
            drawn = drawn[drawn <= usable]
            found = np.concatenate((found, (drawn % np.uint64(bound)).astype(np.int64)))
        return found
