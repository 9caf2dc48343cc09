"""Check of a write-ahead log's own checksums (sqlite.org/walformat.html).

SQLite takes a frame that does not match its checksum for the end of the log, so one changed byte there takes back what
was committed after it, without a word. The log is read as it lies on the disk, for opening a store may rewrite it.
"""

from __future__ import annotations

import struct
from itertools import islice
from pathlib import Path

HEAD = struct.Struct(">8I")
FRAME = struct.Struct(">6I")
LITTLE, BIG = 0x377F0682, 0x377F0683
_MASK = 0xFFFFFFFF


def damage(path: Path) -> str | None:
    """What is wrong with the log at `path`, in words; None if nothing is, or there is none.

    Frames that an earlier use of the file left behind its end are not looked at: nobody reads them.
    """
    log = path.read_bytes() if path.exists() else b""
    if not log:
        return None
    if len(log) < HEAD.size:
        return "its head is cut off"
    magic, _, page_size, _, *salts, first, second = HEAD.unpack_from(log)
    order = "<" if magic == LITTLE else ">"
    running = _checksum(log[: HEAD.size - 8], (0, 0), order)
    if magic not in (LITTLE, BIG) or running != (first, second):
        return "its head does not match its checksum"
    step = FRAME.size + page_size
    for number, at in enumerate(range(HEAD.size, len(log) - step + 1, step), 1):
        _, _, salt_1, salt_2, first, second = FRAME.unpack_from(log, at)
        if salt_1 != salts[0] and salt_2 != salts[1]:
            break
        running = _checksum(log[at : at + 8] + log[at + FRAME.size : at + step], running, order)
        if [salt_1, salt_2] != salts or running != (first, second):
            return f"frame {number} does not match its checksum; what was committed from there on is lost"
    return None


def _checksum(content: bytes, running: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = running
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    while pair := tuple(islice(words, 2)):
        first = (first + pair[0] + second) & _MASK
        second = (second + pair[1] + first) & _MASK
    return first, second
