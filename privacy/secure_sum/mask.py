"""Masks: a 32-byte seed that stands for whole vectors of uniform ring elements.

AES-256 in counter mode is a pseudorandom generator (NIST SP 800-90A has the same construction inside CTR_DRBG). A seed
gives several vectors, each from a lane of its own: counters of two lanes never meet. A seed must serve once: two
vectors under one mask give away their difference. Who receives seeds keeps the hashes of those it has seen.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privacy.secure_sum.exchange import SEED_BYTES
from privacy.secure_sum.fixed_point import Ring

BLOCK_BYTES = 16
CHUNK_BYTES = 64 * 1024
"""Masks are made and used in pieces that stay in a core's cache."""

_ZEROS = memoryview(bytes(CHUNK_BYTES))


def new_seed() -> bytes:
    """32 bytes from the operating system."""
    return secrets.token_bytes(SEED_BYTES)


def add_mask(seed: bytes, vector: Ring, lane: int = 0) -> None:
    """Add the mask of `seed` to `vector`, in place, modulo the ring.

    Args:
        lane: 0..255, which of the seed's vectors.

    Raises:
        ValueError: the seed has another length, or the vector is not contiguous.
    """
    for piece, mask in _pieces(seed, vector, lane):
        np.add(piece, mask, out=piece)


def subtract_mask(seed: bytes, vector: Ring, lane: int = 0) -> None:
    """Take the mask of `seed` from `vector`, in place, modulo the ring.

    Raises:
        ValueError: as `add_mask`.
    """
    for piece, mask in _pieces(seed, vector, lane):
        np.subtract(piece, mask, out=piece)


def _pieces(seed: bytes, vector: Ring, lane: int) -> Iterator[tuple[Ring, Ring]]:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, this one has {len(seed)}")
    if vector.ndim != 1 or not vector.flags.c_contiguous:
        raise ValueError(f"a vector is one contiguous row, this one has shape {vector.shape}")
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes([lane]) + bytes(BLOCK_BYTES - 1))).encryptor()
    room = bytearray(CHUNK_BYTES + BLOCK_BYTES)
    mask: Ring = np.frombuffer(room, vector.dtype, CHUNK_BYTES // vector.itemsize)
    for start in range(0, len(vector), len(mask)):
        piece = vector[start : start + len(mask)]
        stream.update_into(_ZEROS[: piece.nbytes], room)
        yield piece, mask[: len(piece)]
