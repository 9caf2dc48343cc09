"""What a helper answers, and what it does not: the rules on which the privacy of a secure sum rests.

It adds up the masks of a group only where
- the group has at least `min_cohort` nodes, each with a certificate of the federation, and each approved by the
  helper's own organisation, with the key that it was approved with or counted with first: a leader cannot fill a group
  with nodes of its making, nor have its authority certify other keys under approved names;
- no node of it was counted in this sum before: no two answers about one sum differ by one node;
- every seed was sealed by its node for this very sum and for one and the same task, and was never used: a leader cannot
  give the others of a group something else to do, from which nothing comes but what it knows.

What it answers is written down before it is sent. The same request, asked again because the answer was lost, gets the
same answer; nothing else about these nodes is ever answered for this round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec
import structlog

from aggregator.helper.records import HelperRecords, NotCounted, Sum
from privacy.identity.certificates import Certificate, Role
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.exchange import SumRefusal, SumRequest, SumShare
from privacy.secure_sum.fixed_point import WIDTHS
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed
from privacy.secure_sum.sums import MaskSum

log = structlog.get_logger()

LEAST_COHORT = 2
"""A sum over one node is its vector."""


class HelperDesk:
    """Answers a leader's requests.

    Args:
        certificate_of: the certificate that a party has presented, None where it has not.
        min_cohort: of a group, at least 2.

    Raises:
        ValueError: `min_cohort` is below 2.
    """

    def __init__(
        self,
        keys: PrivateKeys,
        federation: str,
        records: HelperRecords,
        certificate_of: Callable[[str], Certificate | None],
        min_cohort: int,
    ) -> None:
        if min_cohort < LEAST_COHORT:
            raise ValueError(f"min_cohort is {min_cohort}: a sum over fewer than {LEAST_COHORT} nodes hides nobody")
        self._keys = keys
        self._federation = federation
        self._records = records
        self._certificate_of = certificate_of
        self._min_cohort = min_cohort

    def answer(self, run_id: int, request: SumRequest) -> SumShare:
        """The sum of the masks, or a refusal that names its reason and those who caused it.

        Raises:
            RecordsError: the records fail; nothing was answered, and the request may be asked again.
        """
        try:
            seeds = self._seeds(run_id, request)
            hashes = {party: hashlib.sha256(seed).digest() for party, seed in seeds.items()}
            digest = hashlib.sha256(msgspec.msgpack.encode((run_id, request))).digest()
            self._records.count(Sum(run_id, request.round_number, request.part), digest, hashes)
        except NotCounted as no:
            log.warning("a group is not answered for", run=f"{run_id:016x}", round=request.round_number, why=str(no))
            return SumShare(refusal=no.refusal, because_of=no.because_of)
        total = MaskSum(request.elements, request.scalars, WIDTHS[request.bits])
        for seed in seeds.values():
            total.add(seed)
        log.info("a group is answered for", run=f"{run_id:016x}", round=request.round_number, nodes=len(seeds))
        return SumShare(total.elements.tobytes(), total.scalars.tobytes())

    def _seeds(self, run_id: int, request: SumRequest) -> dict[str, bytes]:
        parties = list(request.seeds)
        if len(parties) < self._min_cohort:
            raise NotCounted(SumRefusal.TOO_FEW, parties)
        certificates = self._approved(parties)
        purpose = Purpose(self._federation, run_id, request.round_number, request.part, request.assignment)
        seeds: dict[str, bytes] = {}
        bad: list[str] = []
        for party, sealed in request.seeds.items():
            try:
                seeds[party] = open_seed(self._keys, certificates[party], purpose, sealed)
            except BadSeed:
                bad.append(party)
        if bad:
            raise NotCounted(SumRefusal.BAD_SEED, bad)
        return seeds

    def _approved(self, parties: Sequence[str]) -> dict[str, Certificate]:
        """The certificates of these nodes, where all are approved with the keys that they have."""
        approved = self._records.approved(parties)
        strangers = [party for party in parties if party not in approved]
        if strangers:
            raise NotCounted(SumRefusal.NOT_APPROVED, strangers)
        found = {party: self._certificate_of(party) for party in parties}
        certificates = {p: one for p, one in found.items() if one is not None and one.role is Role.NODE}
        if unknown := [party for party in parties if party not in certificates]:
            raise NotCounted(SumRefusal.UNKNOWN, unknown)
        keys = {party: key_digest(certificate) for party, certificate in certificates.items()}
        if changed := [party for party in parties if approved[party].key not in (None, keys[party])]:
            raise NotCounted(SumRefusal.OTHER_KEY, changed)
        if fresh := {party: key for party, key in keys.items() if approved[party].key is None}:
            self._records.pin(fresh)
        return certificates


def key_digest(certificate: Certificate) -> bytes:
    """What an approval is bound to."""
    return hashlib.sha256(certificate.verify_key.public_bytes_raw()).digest()
