"""Receipts of what was erased: signed by this node, and chained, so that none can be made up or taken away later.

A receipt names nobody. It holds a commitment to the tag: HMAC-SHA256 under the tag's own secret, which the node no
longer has. Whoever kept the secret can show that a receipt is about their tag; nobody else can, not by trying every
label.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature

from edge.store.connection import Connection
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, TrustAnchor, UntrustedCertificate
from privacy.journal import Head, Journal, transaction

_TABLE = "receipts"
_COLUMNS = {"at": "REAL", "receipt": "BLOB", "signature": "BLOB", "certificate": "BLOB"}
_SIGNED = b"jaga erasure receipt 1\n"
_COMMITTED = b"jaga erased tag 1"

KINDS: Mapping[str, tuple[str, str]] = {
    "sightings": ("sightings", "catatan sinyal"),
    "exposures": ("exposures", "paparan"),
    "calibration_sessions": ("calibration sessions", "sesi kalibrasi"),
    "corrections": ("corrections", "koreksi"),
    "reported_keys": ("reported keys", "kunci yang dilaporkan"),
    "tags": ("register entries with their secret", "entri daftar beserta rahasianya"),
}
"""What is erased, in English and in Bahasa Indonesia."""


class BadReceipt(ValueError):
    """The receipt is not one, was changed, or is none of this federation; the message says which."""


def commitment(key: bytes, receipt_id: bytes) -> bytes:
    """What a receipt says of whose it is, 32 bytes; a new one for each receipt, so that two cannot be linked."""
    return hmac.digest(key, _COMMITTED + receipt_id, "sha256")


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was erased, when and by which node.

    Attributes:
        id: 16 random bytes.
        at: seconds since the epoch.
        node: party of the node, as in its certificate.
        counts: rows deleted, by kind.
        days: days of which identifiers were looked for.
        commitment: see `commitment`; of the identifiers themselves where no secret was known.
        row: number in the node's journal of receipts.
        before: hash of the row before it.
        text: for people, in English and in Bahasa Indonesia.
    """

    id: bytes
    at: float
    node: str
    counts: dict[str, int]
    days: int
    commitment: bytes
    row: int
    before: bytes
    text: str

    def is_about(self, key: bytes) -> bool:
        """Whether this is about the tag with that secret (or about these identifiers, see `key_of`)."""
        return hmac.compare_digest(commitment(key, self.id), self.commitment)


class SignedReceipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person is given: a JSON file that begins with what they can read."""

    text: str
    receipt: bytes
    signature: bytes
    certificate: bytes

    def encode(self) -> bytes:
        """The file's content."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def key_of(identifiers: frozenset[bytes]) -> bytes:
    """Stands for a tag's secret where only some of its identifiers are known."""
    return hashlib.sha256(b"".join(sorted(identifiers))).digest()


@dataclass(frozen=True, slots=True)
class Receipts:
    """The journal of a node's receipts. They name nobody, so they stay."""

    connection: Connection

    def __post_init__(self) -> None:
        self._journal.create_table()

    @property
    def _journal(self) -> Journal:
        return Journal(self.connection, _TABLE, _COLUMNS)

    def issue(self, identity: Identity, key: bytes, counts: Mapping[str, int], days: int, now: float) -> int:
        """Sign a receipt and enter it, and return its number; inside a transaction it commits with it.

        Args:
            key: the tag's secret, or `key_of` its identifiers; not kept.
            counts: rows deleted, by kind.
            days: days of which identifiers were looked for.
            now: seconds since the epoch.
        """
        with nullcontext() if self.connection.in_transaction else transaction(self.connection):
            last, before = self._journal.head()
            receipt_id = secrets.token_bytes(16)
            receipt = Receipt(
                id=receipt_id,
                at=now,
                node=identity.party,
                counts=dict(counts),
                days=days,
                commitment=commitment(key, receipt_id),
                row=last + 1,
                before=before,
                text=_words(identity.party, counts, days, last + 1, now),
            )
            body = msgspec.json.encode(receipt)
            signature = identity.keys.signing.sign(_SIGNED + body)
            return self._journal.append((now, body, signature, identity.certificate.der))

    def get(self, row: int) -> SignedReceipt:
        """The receipt of that number.

        Raises:
            BadReceipt: there is none.
        """
        found = self.connection.execute(
            "SELECT receipt, signature, certificate FROM receipts WHERE row = ?", (row,)
        ).fetchone()
        if found is None:
            raise BadReceipt(f"there is no receipt {row} at this node: see the receipt's own text for its number")
        body, signature, certificate = map(bytes, found)
        text = msgspec.json.decode(body, type=Receipt).text
        return SignedReceipt(text=text, receipt=body, signature=signature, certificate=certificate)

    def has(self, signed: SignedReceipt) -> bool:
        """Whether this node entered it."""
        row = msgspec.json.decode(signed.receipt, type=Receipt).row
        found = self.connection.execute("SELECT receipt FROM receipts WHERE row = ?", (row,)).fetchone()
        return found is not None and hmac.compare_digest(bytes(found[0]), signed.receipt)

    def verify(self) -> Head:
        """Follow the chain; returns number and hash of the last receipt.

        Raises:
            BrokenChain: names the first row that does not hold.
        """
        return self._journal.verify()


def read(path: Path) -> SignedReceipt:
    """Read a receipt's file.

    Raises:
        BadReceipt: it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=SignedReceipt)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as why:
        raise BadReceipt(f"{path}: no receipt there ({why}): give the file that `jaga-node erase` wrote") from why


def verified(signed: SignedReceipt, anchor: TrustAnchor) -> tuple[Receipt, Certificate]:
    """The receipt, once its signature and the certificate of the node that signed it hold.

    The certificate may have expired since; it must have been valid when the receipt was made.

    Raises:
        BadReceipt: with the reason.
    """
    try:
        receipt = msgspec.json.decode(signed.receipt, type=Receipt)
        certificate = anchor.verify(signed.certificate, at=datetime.fromtimestamp(receipt.at, UTC))
        certificate.verify_key.verify(signed.signature, _SIGNED + signed.receipt)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError, OverflowError, InvalidSignature) as why:
        reason = why if isinstance(why, UntrustedCertificate) else "its signature does not hold"
        raise BadReceipt(
            f"this receipt was changed, or is none of this federation: {reason} / "
            "tanda terima ini telah diubah, atau bukan dari federasi ini"
        ) from why
    if receipt.node != certificate.party or receipt.text != signed.text:
        raise BadReceipt(
            "this receipt was changed: its text or its node is not what was signed / tanda terima ini telah diubah"
        )
    return receipt, certificate


def _words(party: str, counts: Mapping[str, int], days: int, row: int, now: float) -> str:
    when = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    english = ", ".join(f"{counts[kind]} {KINDS[kind][0]}" for kind in KINDS if kind in counts)
    bahasa = ", ".join(f"{counts[kind]} {KINDS[kind][1]}" for kind in KINDS if kind in counts)
    return (
        f"Node {party} erased all that it held of one tag on {when}: {english}. It looked for every identifier of "
        f"{days} days and overwrote the bytes in its file and its log. Encounters are not stored, so there were none "
        f"to erase. This is receipt {row} of this node.\n"
        f"Node {party} menghapus semua data satu tag pada {when}: {bahasa}. Setiap pengenal dari {days} hari telah "
        f"dicari dan byte-nya ditimpa di berkas dan log. Perjumpaan tidak disimpan, jadi tidak ada yang perlu dihapus. "
        f"Ini tanda terima nomor {row} dari node ini.\n"
    )
