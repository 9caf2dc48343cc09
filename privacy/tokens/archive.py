"""The zip archive that an export travels in: two files, and guards against archives that are built to do harm."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from privacy.tokens.refusal import ExportReason, ExportRefused

CONTENTS, SIGNATURES = "export.bin", "export.sig"
EPOCH = (1980, 1, 1, 0, 0, 0)
SIGNATURES_BYTES = 64 * 1024
ENCRYPTED = 0x1

_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises at hostile input."""


def pack(contents: bytes, signatures: bytes) -> bytes:
    """An archive of both. It depends on nothing else, not even on the time; keys are random, so nothing is deflated."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name, data in ((CONTENTS, contents), (SIGNATURES, signatures)):
            packed.writestr(zipfile.ZipInfo(name, EPOCH), data)
    return archive.getvalue()


def unpack(archive: bytes, max_bytes: int, *, exact: bool) -> tuple[bytes, bytes]:
    """Contents and signatures; never more than `max_bytes` are unpacked, whatever the archive says of itself.

    Args:
        max_bytes: how large the archive, and its contents, may be.
        exact: turn away what is not byte for byte as `pack` makes it.

    Raises:
        ExportRefused: NO_ARCHIVE, TOO_LARGE or NOT_EXACT.
    """
    if len(archive) > max_bytes + SIGNATURES_BYTES + 1024:
        raise ExportRefused(ExportReason.TOO_LARGE, f"an archive of {len(archive)} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            names = sorted(entry.filename for entry in packed.infolist())
            if names != [CONTENTS, SIGNATURES]:
                raise ExportRefused(
                    ExportReason.NO_ARCHIVE, f"{len(names)} files in place of {CONTENTS} and {SIGNATURES}"
                )
            contents = _read(packed, packed.getinfo(CONTENTS), max_bytes)
            signatures = _read(packed, packed.getinfo(SIGNATURES), SIGNATURES_BYTES)
    except ExportRefused:
        raise
    except _UNREADABLE as why:
        raise ExportRefused(ExportReason.NO_ARCHIVE, f"cannot be unpacked ({type(why).__name__})") from why
    if exact and pack(contents, signatures) != archive:
        raise ExportRefused(ExportReason.NOT_EXACT, f"{len(archive)} bytes that another program packed, or changed")
    return contents, signatures


def _read(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """One file; read no further than allowed, because a size that is declared is only a claim."""
    if entry.file_size > max_bytes:
        raise ExportRefused(ExportReason.TOO_LARGE, f"{entry.file_size} bytes in {entry.filename}")
    if entry.flag_bits & ENCRYPTED or entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ExportRefused(ExportReason.NO_ARCHIVE, f"{entry.filename} is encrypted, or packed in an unusual way")
    with packed.open(entry) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ExportRefused(ExportReason.TOO_LARGE, f"more than {max_bytes} bytes in {entry.filename}")
    if len(data) != entry.file_size:
        raise ExportRefused(ExportReason.NO_ARCHIVE, f"{entry.filename} is not as long as the archive says")
    return data
