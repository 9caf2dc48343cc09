"""Anchor: where the helper's journal ends, noted in a file outside of its database.

A database that was put back from a backup has forgotten which sums it answered for, and would answer for all nodes but
one. The note is written after every draw and answer is on disk and before it is sent: a journal that is further than
its note is fine (a power cut came between), one that does not reach it was put back, and the helper does not start.
Whoever puts back the database and the note together, from one moment, is not noticed by it: keep the note out of the
backup. Seeds end with their round (`expires_at` of its draw) in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from aggregator.helper.records import HelperRecords, JournalHead
from aggregator.records.database import RecordsError
from privacy.identity.keys import write_private

_WAY_OUT = (
    "Only if there is no newer one: `jaga-central helper accept-old-records` goes on without every round that was "
    "begun before / hanya bila tidak ada yang lebih baru"
)


class HelperRolledBack(RecordsError):
    """The helper's database is an old copy of itself, or another one."""


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class HelperAnchor:
    """The note of one helper."""

    path: Path

    def write(self, records: HelperRecords) -> None:
        """Note where the journal ends now, durably.

        Raises:
            RecordsError: the file cannot be written; nothing may be sent then.
        """
        head = records.head()
        try:
            write_private(self.path, msgspec.json.encode(_Note(head.sequence, head.hash)))
        except OSError as why:
            raise RecordsError(f"{self.path} cannot be written: {why}; make room, or correct its folder") from why

    def check(self, records: HelperRecords) -> None:
        """Whether the journal reaches its note; the first start of a database makes it.

        Raises:
            HelperRolledBack: it does not, or there is no note though something was answered.
        """
        try:
            note = msgspec.json.decode(self.path.read_bytes(), type=_Note)
        except FileNotFoundError:
            if records.head().sequence:
                raise HelperRolledBack(
                    f"{self.path}, which notes where this helper's records end, is gone: put it back. {_WAY_OUT}"
                ) from None
            self.write(records)
            return
        except (OSError, msgspec.MsgspecError) as why:
            raise HelperRolledBack(
                f"{self.path} cannot be read ({why}): put it back from where it was. {_WAY_OUT}"
            ) from why
        if not records.reaches(JournalHead(note.sequence, note.hash)):
            raise HelperRolledBack(
                f"records {records.address} are an old copy, or others: they end with row {records.head().sequence} of "
                f"their journal, and row {note.sequence} was answered for. Put the newer ones back. {_WAY_OUT}"
            )
