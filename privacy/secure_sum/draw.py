"""Draw: which nodes are summed together, from randomness of both organisations, so that neither can choose.

    leader   secret, 32 random bytes    --- SHA-256(secret), the nodes, the sizes -->  helper
    helper   nonce, 32 random bytes     <--------- nonce, signed; written down ------
    both     groups = f(secret, nonce, nodes, sizes); the leader reveals its secret with the first request for a sum

The leader is bound to its secret before it knows the nonce, and the helper does not know the secret when it draws the
nonce. A helper gives one nonce for each sum, so a leader cannot draw again until it likes the groups.

Nodes that do not answer are taken out of the groups afterwards, and groups that came out too small are merged, by a
rule (`merged`) that both follow from the list of those nodes alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from privacy.secure_sum.exchange import RANDOM_BYTES, Draw, Part

COMMITMENT, GROUPS, SIGNED = b"jaga draw commitment 1\x00", b"jaga draw groups 1\x00", b"jaga draw 1\x00"
MOST_OF_A_GROUP = 4000
"""Sealed seeds of so many nodes are 5 MB, which every broker takes in one message."""


Node = TypeVar("Node")


class BadDraw(ValueError):
    """A draw that its helper did not make for this very sum."""


@dataclass(frozen=True, slots=True)
class SumName:
    """One sum of one round of one run of one federation; `run_id` is a uint64."""

    federation: str
    run_id: int
    round_number: int
    part: Part


def new_secret() -> bytes:
    """32 bytes from the operating system."""
    return secrets.token_bytes(RANDOM_BYTES)


def commitment_of(secret: bytes) -> bytes:
    """What a leader commits to; 256 random bits cannot be guessed from it."""
    return hashlib.sha256(COMMITMENT + secret).digest()


def groups_of(
    at: SumName, secret: bytes, nonce: bytes, nodes: Collection[str], size: int, min_cohort: int
) -> dict[str, int]:
    """The group of each node: a function of both random numbers and of nothing that either party can still change.

    Args:
        nodes: in any order.
        size: nodes of a group, or a few more.
        min_cohort: changes the whole draw, as everything else that was agreed does.
    """
    agreed = (at.federation, at.run_id, at.round_number, at.part, secret, nonce, sorted(nodes), size, min_cohort)
    key = hashlib.sha256(GROUPS + msgspec.msgpack.encode(agreed)).digest()
    return spread(sorted(nodes, key=lambda party: (hmac.digest(key, party.encode(), "sha256"), party)), size)


def spread(nodes: Sequence[Node], size: int) -> dict[Node, int]:
    """The group of each node, where groups are of `size` nodes or a few more.

    Args:
        nodes: in the random order in which they are dealt out.
    """
    count = max(1, len(nodes) // size) if len(nodes) > size else 1
    count = max(count, -(-len(nodes) // MOST_OF_A_GROUP))
    return {node: place % count for place, node in enumerate(nodes)}


def merged(sizes: Mapping[int, int], least: int) -> dict[int, int]:
    """Into which group each one goes that is too small, the smallest first; itself where it is large enough.

    A group that is too small and finds no other is lost, and not in the result.

    Args:
        sizes: nodes that are left of each group.
    """
    now, moved = dict(sizes), dict[int, int | None]()
    ready = sorted(sizes, key=lambda number: (now[number], number))
    while ready and now[ready[0]] < least:
        small = ready.pop(0)
        moved[small] = other = next(iter(ready), None)
        if other is not None:
            now[other] += now[small]
            ready.sort(key=lambda number: (now[number], number))
    into: dict[int, int] = {}
    for number in sorted(sizes):
        target: int | None = number
        while target in moved:
            target = moved[target]
        if target is not None:
            into[number] = target
    return into


@dataclass(frozen=True, slots=True)
class Closed:
    """What a sum is made of when nothing more comes.

    Attributes:
        drawn: how many nodes were drawn into it, those included that did not answer.
        nodes: those that did.
    """

    drawn: int
    nodes: frozenset[str]


def closed(groups: Mapping[str, int], absent: Collection[str], least: int) -> dict[int, Closed]:
    """The sums of a round, by group: without those who are absent, and with small groups merged.

    Args:
        groups: as `groups_of` drew them.
    """
    gone = frozenset(absent)
    left: dict[int, list[str]] = {}
    drawn: dict[int, int] = {}
    for party, number in groups.items():
        drawn[number] = drawn.get(number, 0) + 1
        if party not in gone:
            left.setdefault(number, []).append(party)
    members: dict[int, list[str]] = {}
    whole: dict[int, int] = {}
    for number, target in merged({number: len(nodes) for number, nodes in left.items()}, least).items():
        members.setdefault(target, []).extend(left[number])
        whole[target] = whole.get(target, 0) + drawn[number]
    return {target: Closed(whole[target], frozenset(nodes)) for target, nodes in members.items()}


def sign_draw(key: Ed25519PrivateKey, at: SumName, commitment: bytes, min_cohort: int, expires_at: float) -> Draw:
    """A helper's part of a draw, with a fresh nonce."""
    nonce = secrets.token_bytes(RANDOM_BYTES)
    return Draw(
        commitment, nonce, min_cohort, expires_at, key.sign(_signed(at, commitment, nonce, min_cohort, expires_at))
    )


def verify_draw(helper: Ed25519PublicKey, at: SumName, draw: Draw) -> None:
    """Check that this helper made the draw for this sum.

    Raises:
        BadDraw: if it did not.
    """
    try:
        helper.verify(draw.signature, _signed(at, draw.commitment, draw.nonce, draw.min_cohort, draw.expires_at))
    except InvalidSignature as why:
        raise BadDraw(f"the helper did not sign this draw for {at.part} of round {at.round_number}") from why


def _signed(at: SumName, commitment: bytes, nonce: bytes, min_cohort: int, expires_at: float) -> bytes:
    said = (at.federation, at.run_id, at.round_number, at.part, commitment, nonce, min_cohort, expires_at)
    return SIGNED + msgspec.msgpack.encode(said)
