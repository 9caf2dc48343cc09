"""Where the node's books end, noted outside of the store: a copy of the store from before is known for one.

The note is written before anything leaves the node, and authenticated with a secret that the store keeps through every
change of its key. Books that are further than their note are fine (a power cut came between); books that do not reach
it, or are others there, were put back. A store that was put back would have forgotten privacy that was spent, so the
node does not work with it. Whoever puts back store and note together, from one moment, is not noticed by the node
itself: keep the note on another medium.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.store.connection import Connection
from edge.store.errors import StoreError
from edge.store.meta import Meta
from privacy.identity.keys import write_private
from privacy.journal import Head

TABLES = ("privacy_ledger", "audit_log")
MAC_KEY = "key of the books' anchor"
MAC_KEY_BYTES = 32


class RolledBack(StoreError):
    """The store is an old copy of itself."""


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    heads: dict[str, tuple[int, bytes]]
    mac: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """The note of one store."""

    path: Path

    def write(self, connection: Connection) -> None:
        """Note where the books end now, durably."""
        key = Meta(connection).get_or_make(MAC_KEY, lambda: secrets.token_bytes(MAC_KEY_BYTES))
        heads = _heads(connection)
        write_private(self.path, msgspec.json.encode(_Note(heads, _mac(key, heads))))

    def check(self, connection: Connection, *, make: bool = True) -> None:
        """Whether the books reach their note.

        Args:
            make: write the note of a store that never had one, as its first start does.

        Raises:
            RolledBack: they do not, or there is no note though there was one.
        """
        key = Meta(connection).get(MAC_KEY)
        if not self.path.exists():
            if key is not None:
                raise RolledBack(
                    f"{self.path}, which notes where this node's books end, is gone: put it back. {_WAY_OUT}"
                )
            if make:
                self.write(connection)
            return
        for table, (row, digest) in self._read(key or b"").items():
            found = connection.execute(f"SELECT hash FROM {table} WHERE row = ?", (row,)).fetchone() if row else None  # noqa: S608
            if row and (found is None or not hmac.compare_digest(bytes(found[0]), digest)):
                what = "has fewer rows than" if found is None else "is another than"
                raise RolledBack(
                    f"the store is an old copy: its {table} {what} it had ({row} rows). Put the newer back. {_WAY_OUT}"
                )

    def _read(self, key: bytes) -> Mapping[str, Head]:
        try:
            note = msgspec.json.decode(self.path.read_bytes(), type=_Note)
        except (OSError, msgspec.MsgspecError) as why:
            raise RolledBack(f"{self.path} cannot be read ({why}): put it back from where it was. {_WAY_OUT}") from why
        if not hmac.compare_digest(note.mac, _mac(key, note.heads)) or set(note.heads) - set(TABLES):
            raise RolledBack(f"{self.path} is of another store, or was changed. {_WAY_OUT}")
        return note.heads


_WAY_OUT = (
    "Only where there is no newer one: `jaga-node keys accept-old-store` goes on, and counts the whole budget as "
    "spent for a record lifetime / hanya bila tidak ada yang lebih baru"
)


def _heads(connection: Connection) -> dict[str, Head]:
    found: dict[str, Head] = {}
    for table in TABLES:
        row = connection.execute(f"SELECT row, hash FROM {table} ORDER BY row DESC LIMIT 1").fetchone()  # noqa: S608
        found[table] = (0, b"") if row is None else (int(row[0]), bytes(row[1]))
    return found


def _mac(key: bytes, heads: Mapping[str, Head]) -> bytes:
    return hmac.digest(key, msgspec.json.encode([[table, *heads[table]] for table in sorted(heads)]), "sha256")
