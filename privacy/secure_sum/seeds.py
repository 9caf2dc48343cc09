"""The helper's share of a contribution: a seed, sealed to the helper and signed by the node.

It travels through the leader, which can neither open it nor make one up: the seal is HPKE to the helper's certificate
(ML-KEM-768 + X25519), bound to the federation, run, round, part and draw, to what the node was asked, to the node and
to its own terms (cohort, noise, group); the signature is the node's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag

from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import SEED_BYTES, NodeTerms, SealedSeed

CONTEXT = b"jaga secure sum seed 2\x00"


class BadSeed(ValueError):
    """A sealed seed that does not count; the message says why."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a seed is for, and nothing else: one sum of one round of one run, with the groups of one draw.

    Attributes:
        assignment: hash of what the node was asked (`boundary.assignment`).
        draw: the helper's nonce: a helper that does not know it, or no longer, does not count the seed.
    """

    at: SumName
    assignment: bytes
    draw: bytes

    def info(self, party: str, said: NodeTerms) -> bytes:
        """What the seal is bound to."""
        at = (self.at.federation, self.at.run_id, self.at.round_number, self.at.part)
        whole = (*at, self.assignment, self.draw, party, said.cohort, said.sigma, said.group)
        return CONTEXT + msgspec.msgpack.encode(whole)


def key_digest(certificate: Certificate) -> bytes:
    """SHA-256 of a party's verify key: what an approval is bound to. 32 bytes."""
    return hashlib.sha256(certificate.verify_key.public_bytes_raw()).digest()


def seal_seed(node: Identity, helper: Certificate, purpose: Purpose, said: NodeTerms, seed: bytes) -> SealedSeed:
    """Close a seed for the helper.

    Args:
        said: the node's own terms.

    Raises:
        ValueError: the helper's certificate has no sealing key.
    """
    if helper.sealing_key is None:
        raise ValueError(f"the certificate of {helper.party} has no key to seal to: enrol it again")
    info = purpose.info(node.party, said)
    sealed = helper.sealing_key.seal(seed, info=info)
    return SealedSeed(said, sealed, node.keys.signing.sign(_signed(info, sealed)))


def open_seed(helper: PrivateKeys, node: Certificate, purpose: Purpose, share: SealedSeed) -> bytes:
    """The seed, if this very node sealed it for this very round, under the terms that it says.

    Raises:
        BadSeed: it did not, or the seed is for somebody else.
    """
    info = purpose.info(node.party, share.said)
    at = purpose.at
    try:
        node.verify_key.verify(share.signature, _signed(info, share.sealed))
        seed = helper.open(share.sealed, info=info)
    except InvalidSignature as why:
        raise BadSeed(f"{node.party} did not sign this seed for {at.part} of round {at.round_number}") from why
    except InvalidTag as why:
        raise BadSeed(f"the seed of {node.party} is sealed to other keys, or for another round") from why
    if len(seed) != SEED_BYTES:
        raise BadSeed(f"the seed of {node.party} has {len(seed)} bytes, not {SEED_BYTES}")
    return seed


def _signed(info: bytes, sealed: bytes) -> bytes:
    return info + hashlib.sha256(sealed).digest()
