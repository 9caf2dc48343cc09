"""Download the files of a data set, each checked against its card before it is in its place."""

from __future__ import annotations

import gzip
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pooch
from requests import exceptions

from simulations.datasets.card import DataCard, DataFile
from simulations.datasets.files import BadData, State, look

TIMEOUT_S = 30.0
"""Without an answer, or between two pieces of one."""


def fetch(
    name: str, card: DataCard, folder: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Download what is missing, into a folder of the data set's name; returns the paths of all its files.

    A file is in its place whole and as published, or not at all. What is there already is never overwritten.

    Args:
        folder: see `simulations.datasets.files.data_folder`.
        tell: called with a line about each download before it begins.

    Raises:
        BadData: a download failed or is not what was published, or another file is in its place.
    """
    paths = []
    for found in look(name, card, folder):
        if found.state is State.ANOTHER:
            raise BadData(
                f"{name}: {found.path} is not as published at {card.source}, commit {card.commit}. It is left as it "
                "is: move it away first"
            )
        if found.state is State.MISSING:
            tell(f"{card.url(found.file)} to {found.path}")
            try:
                _download(card.url(found.file), found.file, found.path)
            except BadData as why:
                by_hand = found.file.published or found.file.name
                raise BadData(
                    f"{name}: {card.url(found.file)}: {why}. Try again, or get {by_hand} from {card.source} and put it"
                    f"{found.file.unpacked} into {found.path.parent}"
                ) from why
        paths.append(found.path)
    return paths


def _download(url: str, file: DataFile, path: Path) -> None:
    def receive(_: str, into: str, __: object) -> None:
        """Unpack what is packed before the checksum is taken: it is of what will be read."""
        pooch.HTTPDownloader(timeout=TIMEOUT_S)(url, into, None)
        if file.published:
            packed = Path(into).rename(f"{into}.packed")
            try:
                with _open_packed(packed, file) as source, Path(into).open("wb") as target:
                    shutil.copyfileobj(source, target)
            finally:
                packed.unlink()

    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(url, known_hash=f"sha256:{file.sha256}", fname=path.name, path=path.parent, downloader=receive)
    except exceptions.HTTPError as why:
        raise BadData(f"the server answers {str(why).partition(' for url')[0]}") from why
    except exceptions.Timeout as why:
        raise BadData(f"the server is silent for {TIMEOUT_S:g} s") from why
    except exceptions.ChunkedEncodingError as why:
        raise BadData("the download broke off") from why
    except exceptions.ConnectionError as why:
        raise BadData("no connection to the server") from why
    except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile) as why:
        raise BadData(f"what came cannot be unpacked ({why})") from why
    except OSError as why:
        raise BadData(f"it cannot be written to {path.parent} ({why.strerror or why})") from why
    except ValueError as why:
        raise BadData("what came is not what was published: its SHA-256 is another") from why


@contextmanager
def _open_packed(path: Path, file: DataFile) -> Iterator[IO[bytes]]:
    if file.published.endswith(".gz"):
        with gzip.open(path) as source:
            yield cast(IO[bytes], source)
        return
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if not member.endswith("/")]
        chosen = [member for member in members if Path(member).name == file.name] or members
        if len(chosen) != 1:
            raise zipfile.BadZipFile(f"{len(chosen)} files in it may be {file.name}")
        with archive.open(chosen[0]) as source:
            yield source
