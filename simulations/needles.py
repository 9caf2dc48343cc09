"""Finding raw identifiers in bytes, however they are written: as they are, hex, base64, compressed, or all of these.

The search is exact and meant for hundreds of megabytes: a table over the first three bytes rules out nearly every place
at once (vectorised), the first eight bytes rule out nearly all that is left, and what remains is compared in full.
"""

from __future__ import annotations

import binascii
import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import zstandard
from numpy.typing import NDArray

MIN_BYTES = 8
"""A shorter needle would be found by chance."""

PREFIX_BYTES = 3
CHUNK_BYTES = 1 << 22
MAX_DEPTH = 6
"""How many layers of writing or compression are taken off."""

BUDGET_BYTES = 1 << 28
"""How much one search may unpack before it refuses to vouch for the data."""

HEX_DIGITS = b"0123456789abcdefABCDEF"
HEX_SEPARATORS = b"-:"
"""As in UUIDs and device addresses."""

BASE64_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
BASE64_SEPARATORS = b"\r\n"

Layers = tuple[str, ...]
"""How a needle was written, outermost layer first: `("zstd", "hex")`; empty where it was there as it is."""


class TooDeep(ValueError):
    """The data unpack to more than can be searched: a decompression bomb, or writing inside writing without end."""


class _Decompressor(Protocol):
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


_FORMATS: dict[str, tuple[bytes, Callable[[], _Decompressor]]] = {
    "zstd": (b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
    "gzip": (b"\x1f\x8b\x08", lambda: zlib.decompressobj(wbits=31)),
    "bzip2": (b"BZh", bz2.BZ2Decompressor),
    "xz": (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
}
_ERRORS = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError)


def _zlib_headers() -> frozenset[bytes]:
    """RFC 1950: method 8, window up to 32 KiB, check bits, no preset dictionary."""
    pairs = ((cmf, flg) for cmf in range(0x08, 0x80, 0x10) for flg in range(256) if not flg & 0x20)
    return frozenset(bytes(pair) for pair in pairs if int.from_bytes(bytes(pair), "big") % 31 == 0)


_ZLIB = _zlib_headers()
_STARTS: NDArray[np.bool_] = np.zeros(1 << 16, np.bool_)
for _magic in (*_ZLIB, *(magic[:2] for magic, _ in _FORMATS.values())):
    _STARTS[int.from_bytes(_magic, "big")] = True


class Needles:
    """A set of byte strings to look for, each at least `MIN_BYTES` long."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        self._by_prefix: dict[int, list[bytes]] = {}
        self._table: NDArray[np.bool_] = np.zeros(1 << (8 * PREFIX_BYTES), np.bool_)
        for needle in set(needles):
            if len(needle) < MIN_BYTES:
                raise ValueError(f"a needle of {len(needle)} bytes would be found by chance, give {MIN_BYTES} or more")
            self._by_prefix.setdefault(int.from_bytes(needle[:8], "little"), []).append(needle)
            self._table[int.from_bytes(needle[:PREFIX_BYTES], "little")] = True
        self._prefixes: NDArray[np.uint64] = np.array(sorted(self._by_prefix), np.uint64)
        lengths = [len(needle) for same in self._by_prefix.values() for needle in same]
        self._shortest = min(lengths, default=0)
        self.count = len(lengths)

    def search(self, data: bytes | memoryview, *, unpack: bool = True) -> set[Layers]:
        """Every way in which any needle is written in `data`; empty if there is none.

        Args:
            unpack: whether to look inside what is compressed, wherever it starts.

        Raises:
            TooDeep: more than `BUDGET_BYTES` would have to be unpacked.
        """
        found: set[Layers] = set()
        if self._prefixes.size:
            self._search(bytes(data), (), unpack, found, [BUDGET_BYTES])
        return found

    def _search(self, data: bytes, layers: Layers, unpack: bool, found: set[Layers], budget: list[int]) -> None:
        if len(data) < self._shortest:
            return
        if self._holds_raw(data):
            found.add(layers)
        if len(layers) == MAX_DEPTH:
            return
        for form, inner in self._unwritten(data, unpack):
            budget[0] -= len(inner)
            if budget[0] < 0:
                raise TooDeep(f"unpacks to more than {BUDGET_BYTES} bytes")
            self._search(inner, (*layers, form), unpack, found, budget)

    def _holds_raw(self, data: bytes) -> bool:
        whole = np.frombuffer(data, np.uint8)
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = whole[start : start + CHUNK_BYTES + MIN_BYTES]
            for shift in range(4):
                words = chunk[shift : shift + (len(chunk) - shift) // 4 * 4].view("<u4")
                places = start + shift + 4 * np.flatnonzero(self._table[words & 0xFFFFFF])
                if places.size and self._any_at(data, whole, places):
                    return True
        return False

    def _any_at(self, data: bytes, whole: NDArray[np.uint8], places: NDArray[np.int64]) -> bool:
        places = places[places <= len(data) - MIN_BYTES]
        eight = whole[places[:, None] + np.arange(8)].view("<u8").ravel()
        nearest = np.minimum(np.searchsorted(self._prefixes, eight), self._prefixes.size - 1)
        same = self._prefixes[nearest] == eight
        return any(
            data.startswith(needle, place)
            for place, prefix in zip(places[same].tolist(), eight[same].tolist(), strict=True)
            for needle in self._by_prefix[prefix]
        )

    def _unwritten(self, data: bytes, unpack: bool) -> Iterator[tuple[str, bytes]]:
        """What `data` says once a layer of writing is taken off, at every place and alignment where that works."""
        for run in _runs(data, HEX_DIGITS + HEX_SEPARATORS, 2 * self._shortest):
            digits = run.translate(None, HEX_SEPARATORS)
            for start in (0, 1):
                yield "hex", bytes.fromhex(digits[start : start + (len(digits) - start) // 2 * 2].decode())
        for run in _runs(data, BASE64_DIGITS + BASE64_SEPARATORS, -(-4 * self._shortest // 3)):
            digits = run.translate(bytes.maketrans(b"-_", b"+/"), BASE64_SEPARATORS)
            for start in range(4):  # covers the three alignments, and text of the same alphabet before it
                quads = digits[start:]
                yield "base64", binascii.a2b_base64(quads + b"A" * (-len(quads) % 4))
        if unpack:
            yield from _unpacked(data)


def _runs(data: bytes, alphabet: bytes, shortest: int) -> Iterator[bytes]:
    """The longest stretches of `data` in `alphabet`, of at least `shortest` bytes."""
    inside = data.translate(bytes(byte in alphabet for byte in range(256)))
    wanted = b"\x01" * shortest
    start = inside.find(wanted)
    while start >= 0:
        end = inside.find(b"\x00", start)
        end = len(data) if end < 0 else end
        yield data[start:end]
        start = inside.find(wanted, end)


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What each compressed stream that starts anywhere in `data` holds, as far as it can be read."""
    whole = np.frombuffer(data, np.uint8)
    for shift in (0, 1):
        pairs = whole[shift : shift + (len(data) - shift) // 2 * 2].view(">u2")
        for place in (shift + 2 * np.flatnonzero(_STARTS[pairs])).tolist():
            form = next((name for name, (magic, _) in _FORMATS.items() if data.startswith(magic, place)), "zlib")
            if form != "zlib":
                yield form, _inflate(_FORMATS[form][1](), data, place)
            elif data[place : place + 2] in _ZLIB:
                yield form, _inflate(zlib.decompressobj(), data, place)


def _inflate(stream: _Decompressor, data: bytes, place: int) -> bytes:
    """Read a stream until it ends, breaks (most that start by chance break at once) or gets too big."""
    parts: list[bytes] = []
    total, step = 0, 64
    while place < len(data):
        try:
            part = stream.decompress(data[place : place + step])
        except _ERRORS:
            break
        parts.append(part)
        total += len(part)
        if total > BUDGET_BYTES:
            raise TooDeep(f"unpacks to more than {BUDGET_BYTES} bytes")
        if stream.unused_data:
            break
        place += step
        step = min(2 * step, 1 << 16)
    return b"".join(parts)
