"""The helper's share of a contribution: a seed, sealed to the helper and signed by the node.

It travels through the leader, which can neither open it nor make one up: the seal is HPKE to the helper's certificate
(ML-KEM-768 + X25519), bound to the federation, run, round and part, to what the node was asked and
to the node; the signature is the node's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag

from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.exchange import SEED_BYTES, Part, SealedSeed

CONTEXT = b"jaga secure sum seed 1\x00"


class BadSeed(ValueError):
    """A sealed seed that does not count; the message says why."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a seed is for, and nothing else: one sum of one round of one run.

    Attributes:
        run_id: uint64.
        round_number: from 1.
        assignment: hash of what the node was asked (`boundary.assignment`).
    """

    federation: str
    run_id: int
    round_number: int
    part: Part
    assignment: bytes

    def info(self, party: str) -> bytes:
        """What the seal is bound to."""
        said = (self.federation, self.run_id, self.round_number, self.part, self.assignment, party)
        return CONTEXT + msgspec.msgpack.encode(said)


def seal_seed(node: Identity, helper: Certificate, purpose: Purpose, seed: bytes) -> SealedSeed:
    """Close a seed for the helper.

    Raises:
        ValueError: the helper's certificate has no sealing key.
    """
    if helper.sealing_key is None:
        raise ValueError(f"the certificate of {helper.party} has no key to seal to: enrol it again")
    info = purpose.info(node.party)
    sealed = helper.sealing_key.seal(seed, info=info)
    return SealedSeed(sealed, node.keys.signing.sign(_signed(info, sealed)))


def open_seed(helper: PrivateKeys, node: Certificate, purpose: Purpose, share: SealedSeed) -> bytes:
    """The seed, where this very node sealed it for this very round.

    Raises:
        BadSeed: it did not, or the seed is for somebody else.
    """
    info = purpose.info(node.party)
    try:
        node.verify_key.verify(share.signature, _signed(info, share.sealed))
        seed = helper.open(share.sealed, info=info)
    except InvalidSignature as why:
        raise BadSeed(
            f"{node.party} did not sign this seed for {purpose.part} of round {purpose.round_number}"
        ) from why
    except InvalidTag as why:
        raise BadSeed(f"the seed of {node.party} is sealed to other keys, or for another round") from why
    if len(seed) != SEED_BYTES:
        raise BadSeed(f"the seed of {node.party} has {len(seed)} bytes, not {SEED_BYTES}")
    return seed


def _signed(info: bytes, sealed: bytes) -> bytes:
    return info + hashlib.sha256(sealed).digest()
