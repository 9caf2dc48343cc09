"""Proof, after a run, that nothing personal crossed the wire and that nothing crossed it undeclared.

The check holds the private keys of every party, so that encryption cannot hide a leak from it: it opens what was
sealed, decrypts blobs with the keys that their tasks carried, unpacks what is compressed, and looks for every raw
identifier in every form it may be written in (`needles`). What it cannot open, it cannot vouch for, and says so: such
a payload counts as a violation. So does any payload that is not a declared message, on its topic, from a known
sender, encoded as declared and in no other way.

What it cannot see: an identifier under encryption of the leaker's own, or spread over several fields.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec
from cryptography.exceptions import InvalidTag

from privacy.boundary import topics
from privacy.boundary.blob import open_blob
from privacy.boundary.envelope import Envelope, Reason, Rejected
from privacy.boundary.flower import BadFlowerMessage, head_of, message_of
from privacy.boundary.messages import (
    BODY,
    EVERYONE,
    SEALED,
    BlobReference,
    Body,
    Encoding,
    Keys,
    Kind,
    Presence,
    Reply,
    Task,
    encode,
)
from privacy.identity.authority import Identity
from privacy.identity.revocation import BadRevocationList, RevocationList
from simulations.eavesdropper import Capture
from simulations.leaves import array_bytes, disguised, said_by, said_by_flower, strings
from simulations.needles import Layers, Needles, TooDeep

KEPT = frozenset({Kind.PRESENCE, Kind.BLOB, Kind.CLAIM, Kind.KEYS, Kind.REVOCATIONS})
"""Kinds that the broker keeps; an empty payload on their topics takes one back."""

BAD_ENCODING = (msgspec.DecodeError, UnicodeDecodeError)
"""msgspec lets the second one through where a string is not UTF-8."""

DECLARED_PROPERTIES = frozenset({"MessageExpiryInterval"})
CLEARED = "cleared"
UNDECLARED = "undeclared"


class Leak(StrEnum):
    """What is wrong with a payload."""

    IDENTIFIER = "raw identifier"
    NAME = "person's name or number"
    UNDECLARED = "not a declared message"
    UNOPENED = "cannot be opened"


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which payloads on one topic break the rules. It never quotes what it found.

    Attributes:
        form: how it was written (`raw`, `hex inside zstd`), or which rule is broken.
        description: where it was found, as a sentence's end.
        times: in how many payloads.
    """

    topic: str
    leak: Leak
    form: str
    description: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.topic}: {self.leak} ({self.form}) {self.description}, {self.times} x"


@dataclass(frozen=True, slots=True)
class WireReport:
    """What the check saw.

    Attributes:
        payloads: how many were examined, and `bytes` in all, as they crossed.
        opened: sealed payloads and blobs whose inside was searched too.
        by_kind: payloads by kind of message, with `cleared` (a kept message taken back) and `undeclared`.
        identifiers: how many were looked for.
    """

    payloads: int
    bytes: int
    opened: int
    by_kind: dict[str, int]
    identifiers: int
    violations: list[Violation]

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong. Nothing heard, or nothing looked for, proves nothing."""
        return not self.violations and self.payloads > 0 and self.identifiers > 0


@dataclass(slots=True)
class _Finding:
    """A violation in the making: the topic and the count are not known here."""

    leak: Leak
    form: str
    where: str


@dataclass(slots=True)
class _Contents:
    """What could be read of a payload: its header, the plain bytes inside, and what they say."""

    kind: str = UNDECLARED
    opened: bool = False
    header: bytes = b""
    plain: bytes = b""
    said: list[object] = field(default_factory=list)
    packed: list[tuple[bytes | memoryview, list[int]]] = field(default_factory=list)
    body: Body | None = None

    def understand(self, kind: Kind) -> None:
        """Decode the plain bytes, and what they carry.

        Raises:
            Rejected: MALFORMED, also where there is anything between the declared fields.
        """
        try:
            self.body = body = msgspec.msgpack.decode(self.plain, type=BODY[kind])
        except BAD_ENCODING as why:
            raise Rejected(Reason.MALFORMED) from why
        self.said.append(said_by(body))
        if isinstance(body, Reply) and body.encoding is Encoding.EXACT:
            self.packed.append((body.arrays, body.sizes))
        if isinstance(body, Task | Reply):
            self.said.append(_flower(body))
        if encode(body) != self.plain or (isinstance(body, Reply) and sum(body.sizes) != len(body.arrays)):
            raise Rejected(Reason.MALFORMED)


class WireCheck:
    """Examines what an eavesdropper heard.

    Args:
        identifiers: rotating identifiers and person keys, raw.
        identities: of every party of the federation, with its private keys; whoever else signs is a stranger.
        names: what a person is called in the data set; a leak where a message says it as a whole string.
        references: blobs whose tasks the eavesdropper may have missed.
    """

    def __init__(
        self,
        identifiers: Iterable[bytes],
        identities: Iterable[Identity],
        *,
        names: Iterable[str] = (),
        references: Iterable[BlobReference] = (),
    ) -> None:
        self._needles = Needles(identifiers)
        self._parties = {identity.party: identity for identity in identities}
        self._names = frozenset(names)
        self._references = {reference.digest: reference for reference in references}

    def examine(self, captures: Iterable[Capture]) -> WireReport:
        """Search everything. Goes through `captures` twice: a blob may cross before the task that has its key.

        Raises:
            TypeError: `captures` is an iterator, which would be empty the second time.
        """
        if iter(captures) is captures:
            raise TypeError("examine goes through the captures twice: give a list or a Recording, not an iterator")
        references = self._references | dict(self._referred(captures))
        times: Counter[Violation] = Counter()
        kinds: Counter[str] = Counter()
        size = opened = 0
        for capture in captures:
            contents, findings = self._examine(capture, references)
            kinds[contents.kind] += 1
            size += len(capture.payload)
            opened += contents.opened
            topic = self._printable(capture.topic)
            times.update({Violation(topic, f.leak, f.form, f.where) for f in findings})
        violations = [replace(violation, times=count) for violation, count in times.items()]
        return WireReport(kinds.total(), size, opened, dict(kinds), self._needles.count, violations)

    def _referred(self, captures: Iterable[Capture]) -> Iterator[tuple[bytes, BlobReference]]:
        """The references in every task that opens."""
        for capture in captures:
            address = topics.parse(capture.topic)
            if address is None or address.kind is not Kind.TASK:
                continue
            try:
                body = msgspec.msgpack.decode(self._plain(Envelope.parse(capture.payload)), type=Task)
            except (Rejected, *BAD_ENCODING):
                continue  # `_examine` comes to the same and reports it
            if body.arrays is not None:
                yield body.arrays.digest, body.arrays

    def _examine(self, capture: Capture, references: dict[bytes, BlobReference]) -> tuple[_Contents, list[_Finding]]:
        findings: list[_Finding] = []
        contents = _Contents()
        try:
            self._read(capture, references, contents)
        except Rejected as why:
            # Not the exception's text: what it quotes came from the payload.
            leak = Leak.UNOPENED if why.reason is Reason.CANNOT_OPEN else Leak.UNDECLARED
            findings.append(_Finding(leak, why.reason, "so that nobody can vouch for it"))
            contents.kind = UNDECLARED
        understood = not findings
        findings += self._properties(capture)
        # What was opened says all that its ciphertext can say; elsewhere compression may hide something.
        findings += self._search(capture.payload, "in the payload as it crossed", unpack=not contents.opened)
        findings += self._search(capture.topic.encode(), "in the topic")
        if contents.opened:
            findings += self._search(contents.header, "in the header")
            findings += self._search(contents.plain, "in the payload, opened")
        for said in contents.said:
            for numbers in disguised(said):
                findings += self._search(numbers, "in a list, a number a byte", unpack=False)
            if self._names.intersection(strings(said)):
                findings.append(_Finding(Leak.NAME, "text", "as a value or key in the message"))
        for packed, sizes in contents.packed:
            for numbers in array_bytes(packed, sizes):
                findings += self._search(numbers, "in an array, a number a byte", unpack=False)
        named = capture.topic.removeprefix(topics.PREFIX).split("/")
        if self._names.intersection(named) or (not understood and self._is_name(capture.payload)):
            findings.append(_Finding(Leak.NAME, "text", "in the open"))
        return contents, findings

    def _properties(self, capture: Capture) -> Iterator[_Finding]:
        said = {name: value for name, value in capture.properties.items() if name not in DECLARED_PROPERTIES}
        if not said:
            return
        yield _Finding(Leak.UNDECLARED, "MQTT property", f"({', '.join(sorted(said))})")
        yield from self._search(msgspec.msgpack.encode(said), "in an MQTT property")
        if self._names.intersection(strings(said)):
            yield _Finding(Leak.NAME, "text", "in an MQTT property")

    def _search(self, data: bytes | memoryview, where: str, *, unpack: bool = True) -> Iterator[_Finding]:
        try:
            for layers in self._needles.search(data, unpack=unpack):
                yield _Finding(Leak.IDENTIFIER, _form(layers), where)
        except TooDeep:
            yield _Finding(Leak.UNOPENED, "unpacks without end", where)

    def _read(self, capture: Capture, references: dict[bytes, BlobReference], contents: _Contents) -> None:
        """Take a payload apart as its recipient would, and more strictly; fill `contents` as far as it goes.

        Raises:
            Rejected: it is not declared, or cannot be opened.
        """
        address = topics.parse(capture.topic)
        if not capture.payload and address is not None and address.kind in KEPT:
            contents.kind = CLEARED
            return
        if address is not None and address.kind is Kind.REVOCATIONS:
            self._check_revocations(capture, address.owner)
            contents.kind = address.kind.value
            return
        envelope = Envelope.parse(capture.payload)
        header = envelope.header
        if header.kind not in BODY and header.kind is not Kind.BLOB:
            raise Rejected(Reason.MALFORMED)
        contents.kind, contents.header = header.kind.value, envelope.header_bytes
        contents.said.append(said_by(header))
        if msgspec.msgpack.encode(header) != envelope.header_bytes:
            raise Rejected(Reason.MALFORMED)
        digest = hashlib.sha256(capture.payload).digest()
        if header.kind is Kind.BLOB:
            reference = references.get(digest)
            if reference is None:
                raise Rejected(Reason.CANNOT_OPEN)
            contents.plain, contents.opened = bytes(open_blob(capture.payload, reference)), True
            contents.packed.append((contents.plain, reference.sizes))
        else:
            contents.plain = self._plain(envelope)
            contents.opened = header.sealed
            contents.understand(header.kind)
        self._check(capture, envelope, contents, digest)

    def _check_revocations(self, capture: Capture, carrier: str) -> None:
        """A list has no envelope, and says nothing but what the authority signed.

        Raises:
            Rejected: its carrier is no party, or the authority did not sign it.
        """
        party = self._parties.get(carrier)
        if party is None:
            raise Rejected(Reason.STRANGER)
        try:
            RevocationList.read(capture.payload, party.anchor)
        except BadRevocationList as why:
            raise Rejected(Reason.MALFORMED) from why

    def _check(self, capture: Capture, envelope: Envelope, contents: _Contents, digest: bytes) -> None:
        """Hold a payload against what is declared.

        Raises:
            Rejected: it differs.
        """
        header, address = envelope.header, topics.parse(capture.topic)
        sender = self._parties.get(header.sender)
        if sender is None or header.recipient not in (EVERYONE, *self._parties):
            raise Rejected(Reason.STRANGER)
        envelope.verify(sender.certificate, now=header.created_at)  # old is no fault of a recording
        owner = {
            Kind.PRESENCE: header.sender,
            Kind.REPLY: header.sender,
            Kind.TASK: header.recipient,
            Kind.CLAIM: f"{header.run_id:016x}",
            Kind.BLOB: digest.hex(),
            Kind.CASE: header.sender,
            Kind.KEYS: getattr(contents.body, "region", ""),
            Kind.SUM: header.recipient,
            Kind.SHARE: header.recipient,
        }[header.kind]
        if address is None or address.kind is not header.kind or address.owner != owner:
            raise Rejected(Reason.WRONG_TOPIC)
        if capture.retained and header.kind not in KEPT:
            raise Rejected(Reason.WRONG_TOPIC)
        body = contents.body
        if isinstance(body, Keys) and capture.topic != topics.keys(body.region, body.batch):
            raise Rejected(Reason.WRONG_TOPIC)
        if isinstance(body, Presence) and body.certificate != sender.certificate.der:
            raise Rejected(Reason.STRANGER)

    def _plain(self, envelope: Envelope) -> bytes:
        """The body as bytes, opened where it is sealed.

        Raises:
            Rejected: CANNOT_OPEN, or MALFORMED where it is sealed and should not be, or the other way round.
        """
        header = envelope.header
        if header.sealed is not (header.kind in SEALED):
            raise Rejected(Reason.MALFORMED)
        if not header.sealed:
            return bytes(envelope.body)
        recipient = self._parties.get(header.recipient)
        if recipient is None:
            raise Rejected(Reason.CANNOT_OPEN)
        try:
            return recipient.keys.open(envelope.body, info=envelope.header_bytes)
        except (InvalidTag, ValueError) as why:
            raise Rejected(Reason.CANNOT_OPEN) from why

    def _is_name(self, payload: bytes) -> bool:
        """Whether an undeclared payload is just somebody's name (quoted or not, with or without a line's end)."""
        return len(payload) < 256 and payload.decode("utf-8", "replace").strip().strip("\"'") in self._names

    def _printable(self, topic: str) -> str:
        """The topic, unless it is what leaks."""
        if self._needles.search(topic.encode()) or self._names.intersection(topic.split("/")):
            return "(a topic that itself says who)"
        return topic


def _flower(body: Task | Reply) -> object:
    """What the Flower message inside says; a refusal, which is one of our own fixed words, comes without one.

    Raises:
        Rejected: MALFORMED, where it is none, holds more than its fields, or brings an error's free text.
    """
    if isinstance(body, Reply) and body.refusal is not None:
        if body.flower or body.arrays:
            raise Rejected(Reason.MALFORMED)
        return None
    try:
        message = message_of(body.flower)
    except BadFlowerMessage as why:
        raise Rejected(Reason.MALFORMED) from why
    if head_of(message) != body.flower or message.has_error():
        raise Rejected(Reason.MALFORMED)
    return said_by_flower(message)


def _form(layers: Layers) -> str:
    return " inside ".join(reversed(layers)) or "raw"
