"""The site's register of tags: a pseudonym, and the secret that its identifiers are derived from."""

from __future__ import annotations

import difflib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.store.connection import Connection, transaction

SECRET_BYTES = 32
LONGEST_LABEL = 64
SIMILAR_SHOWN = 3

_SEPARATORS = re.compile(r"[\s.\-/+()]")
_NIK = re.compile(r"\d{16}")
_SHORTEST_PERSONAL_NUMBER = 10
"""A pupil's number (NISN) has 10 digits, a mobile number 10 to 13, a NIK 16, a civil servant's NIP 18."""


class BadLabel(ValueError):
    """The label cannot be a tag's; the message says why, in both languages."""


class KnownLabel(ValueError):
    """The register has a tag of that label already."""


class UnknownLabel(ValueError):
    """The register has no tag of that label; the message lists similar ones."""


class BadSecret(ValueError):
    """The secret is not 32 bytes, or another tag has it."""


def checked_label(label: str) -> str:
    """The label, where it can be a pseudonym.

    A name cannot be told from a pseudonym, so staff are told to use none; what can be told is refused.

    Raises:
        BadLabel: empty, too long, with control characters, or it looks like an identity number or an e-mail address.
    """
    label = label.strip()
    if not label or len(label) > LONGEST_LABEL or not label.isprintable():
        raise BadLabel(
            f"a label has 1 to {LONGEST_LABEL} printable characters: give another one / "
            f"label terdiri dari 1 sampai {LONGEST_LABEL} karakter yang dapat dicetak: beri label lain"
        )
    digits = _SEPARATORS.sub("", label)
    if _NIK.search(digits) or (digits.isdecimal() and len(digits) >= _SHORTEST_PERSONAL_NUMBER):
        raise BadLabel(
            "that label looks like a NIK or another number of a person, and would name them wherever it is shown: "
            "use a pseudonym, such as tag-07 / label itu tampak seperti NIK atau nomor pribadi lain dan akan "
            "mengungkap orangnya: pakai nama samaran, misalnya tag-07"
        )
    if "@" in label:
        raise BadLabel(
            "that label looks like an e-mail address, and would name a person wherever it is shown: use a pseudonym, "
            "such as tag-07 / label itu tampak seperti alamat surel dan akan mengungkap orangnya: pakai nama samaran, "
            "misalnya tag-07"
        )
    return label


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of this site.

    Attributes:
        label: a pseudonym.
        secret: 32 bytes, from which the identifiers of each day are derived.
        enrolled_at: wall clock, seconds.
    """

    label: str
    secret: bytes = field(repr=False)
    enrolled_at: float

    def __post_init__(self) -> None:
        checked_label(self.label)
        if len(self.secret) != SECRET_BYTES:
            raise BadSecret(
                f"a tag's secret has {SECRET_BYTES} bytes ({2 * SECRET_BYTES} hexadecimal digits), this one "
                f"{len(self.secret)}: check the secret file"
            )


@dataclass(frozen=True, slots=True)
class Tags:
    """The register."""

    connection: Connection

    def __iter__(self) -> Iterator[Tag]:
        """All tags, by label."""
        rows = self.connection.execute("SELECT label, secret, enrolled_at FROM tags ORDER BY label").fetchall()
        return (Tag(label, bytes(secret), float(at)) for label, secret, at in rows)

    def add(self, label: str, now: float, secret: bytes | None = None) -> Tag:
        """Enrol a tag.

        Args:
            now: wall clock, seconds.
            secret: 32 bytes; None: fresh from the operating system.

        Raises:
            BadLabel: see `checked_label`.
            KnownLabel: there is a tag of that label.
            BadSecret: it is not 32 bytes, or another tag of this site has it.
        """
        tag = Tag(checked_label(label), secrets.token_bytes(SECRET_BYTES) if secret is None else secret, now)
        with transaction(self.connection):
            for other in self:
                if other.label == tag.label:
                    raise KnownLabel(
                        f"there is a tag {tag.label!r} already: choose another label, or remove that tag first"
                    )
                if secrets.compare_digest(other.secret, tag.secret):
                    raise BadSecret(f"tag {other.label!r} has that secret already: a tag is enrolled once")
            self.connection.execute("INSERT INTO tags VALUES (?, ?, ?)", (tag.label, tag.secret, tag.enrolled_at))
        return tag

    def get(self, label: str) -> Tag:
        """One tag.

        Raises:
            UnknownLabel: with labels that are similar.
        """
        row = self.connection.execute(
            "SELECT label, secret, enrolled_at FROM tags WHERE label = ?", (label.strip(),)
        ).fetchone()
        if row is None:
            alike = self.similar(label)
            hint = f"did you mean {', '.join(map(repr, alike))}?" if alike else "see `jaga-node tags list`"
            raise UnknownLabel(f"there is no tag {label!r} at this site: {hint}")
        return Tag(row[0], bytes(row[1]), float(row[2]))

    def similar(self, label: str) -> list[str]:
        """Labels that are spelt much like this one, the most similar first."""
        labels = [row[0] for row in self.connection.execute("SELECT label FROM tags")]
        folded = {known.casefold(): known for known in sorted(labels)}
        return [folded[found] for found in difflib.get_close_matches(label.casefold(), folded, SIMILAR_SHOWN)]

    def remove(self, label: str) -> None:
        """Take a tag out of the register; what was heard of it stays, as of a stranger. See `edge.store.erasure`.

        Raises:
            UnknownLabel: with labels that are similar.
        """
        self.connection.execute("DELETE FROM tags WHERE label = ?", (self.get(label).label,))
