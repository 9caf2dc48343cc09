"""What a helper answers, and what it does not: the rules on which the privacy of a secure sum rests.

It adds up the masks of a group only where
- the group has at least `min_cohort` nodes, each with a certificate of the federation, and each approved by the
  helper's own organisation: a leader cannot fill a group with nodes of its making;
- no node of it was counted in the round before: no two sums of its training, or of its evaluation, differ by one node;
- every seed was sealed by its node for this very part of this round, and was never used.

What it answers is written down before it is sent. The same request, asked again because the answer was lost, gets the
same answer; nothing else about these nodes is ever answered for this round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import structlog

from aggregator.helper.records import HelperRecords, NotCounted, Round
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
            self._records.count(Round(run_id, request.round_number, request.part), digest, hashes)
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
        approved = self._records.approved()
        strangers = [party for party in parties if party not in approved]
        if strangers:
            raise NotCounted(SumRefusal.NOT_APPROVED, strangers)
        certificates = {party: self._certificate_of(party) for party in parties}
        unknown = [p for p, certificate in certificates.items() if certificate is None or certificate.role != Role.NODE]
        if unknown:
            raise NotCounted(SumRefusal.UNKNOWN, unknown)
        purpose = Purpose(self._federation, run_id, request.round_number, request.part)
        seeds: dict[str, bytes] = {}
        bad: list[str] = []
        for party, sealed in request.seeds.items():
            certificate = certificates[party]
            try:
                if certificate is not None:
                    seeds[party] = open_seed(self._keys, certificate, purpose, sealed)
            except BadSeed:
                bad.append(party)
        if bad:
            raise NotCounted(SumRefusal.BAD_SEED, bad)
        return seeds
