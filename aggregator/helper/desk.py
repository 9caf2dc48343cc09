"""What a helper answers, and what it does not: the rules on which the privacy of a secure sum rests.

It draws the groups of a sum once, together with the leader (`secure_sum.draw`), over nodes that its own organisation
has approved. It adds up the masks of a group only where
- the group is a whole one of that draw, without the nodes that answered nowhere in the round, and with groups that are
  too small merged by the fixed rule: a leader cannot choose whom a node is summed with;
- it has at least `min_cohort` nodes, and at least `quorum` of those that were drawn into it, each with a certificate of
  the federation, and each approved by the helper's own organisation with the key that it has: a leader cannot fill a
  group with nodes of its making, nor have its authority certify other keys under approved names;
- all of them say the same cohort and the same noise, and the cohort is not larger than the helper's own: noise that
  nodes share is then as much as each of them counts on;
- no node of it was counted in this sum before: no two answers about one sum differ by one node;
- every seed was sealed by its node for this very sum, draw, group and one and the same task, and was never used: a
  leader cannot give the others of a group something else to do, from which nothing comes but what it knows.

What it answers is written down before it is sent. The same request, asked again because the answer was lost, gets the
same answer; nothing else about these nodes is ever answered for this round.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import structlog

from aggregator.helper.anchor import HelperAnchor
from aggregator.helper.records import Drawn, HelperRecords, NotCounted, Sum
from privacy.identity.certificates import Certificate, Role
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.draw import SumName, closed, commitment_of, groups_of, sign_draw
from privacy.secure_sum.exchange import DrawRequest, DrawShare, SumRefusal, SumRequest, SumShare
from privacy.secure_sum.fixed_point import WIDTHS
from privacy.secure_sum.seeds import BadSeed, Purpose, key_digest, open_seed
from privacy.secure_sum.sums import MaskSum

log = structlog.get_logger()

LEAST_COHORT = 2
"""A sum over one node is its vector."""
QUORUM = 0.5
"""Of a group's drawn nodes, how many are in its sum at least: a leader says who did not answer, and may lie."""
MOST_UNUSED = 24
"""Draws of a day of which no sum was asked for: a leader that draws and lets go until it likes the groups ends here."""
LIFETIME_S = 7 * 86400.0
"""The longest that seeds of one draw count."""


class HelperDesk:
    """Answers a leader's requests.

    Args:
        certificate_of: the certificate that a party has presented, None where it has not.
        min_cohort: of a group, at least 2.
        anchor: where the end of the records is noted before an answer leaves; None notes nothing.
        clock: seconds since the epoch.

    Raises:
        ValueError: `min_cohort` is below 2, or `quorum` no share.
    """

    def __init__(
        self,
        keys: PrivateKeys,
        federation: str,
        records: HelperRecords,
        certificate_of: Callable[[str], Certificate | None],
        min_cohort: int,
        *,
        anchor: HelperAnchor | None = None,
        quorum: float = QUORUM,
        most_unused: int = MOST_UNUSED,
        lifetime_s: float = LIFETIME_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if min_cohort < LEAST_COHORT:
            raise ValueError(f"min_cohort is {min_cohort}: a sum over fewer than {LEAST_COHORT} nodes hides nobody")
        if not 0 <= quorum <= 1:
            raise ValueError(f"quorum is {quorum}, and a share is 0 to 1")
        self._keys = keys
        self._federation = federation
        self._records = records
        self._certificate_of = certificate_of
        self._min_cohort = min_cohort
        self._anchor = anchor
        self._quorum = quorum
        self._most_unused = most_unused
        self._lifetime_s = lifetime_s
        self._clock = clock

    def draw(self, run_id: int, request: DrawRequest) -> DrawShare:
        """The helper's part of the draw of a sum's groups, or a refusal that names its reason and who caused it.

        Raises:
            RecordsError: the records fail; nothing was drawn, and the same may be asked again.
        """
        at, now = SumName(self._federation, run_id, request.round_number, request.part), self._clock()
        try:
            self._check_draw(request)
            expires_at = now + min(request.lifetime_s, self._lifetime_s)
            fresh = sign_draw(self._keys.signing, at, request.commitment, self._min_cohort, expires_at)
            draw = self._records.draw(_sum(at), request, fresh, now, self._most_unused)
        except NotCounted as no:
            log.warning("groups are not drawn", run=f"{run_id:016x}", round=request.round_number, why=str(no))
            return DrawShare(refusal=no.refusal, because_of=no.because_of)
        self._note()
        log.info("groups are drawn", run=f"{run_id:016x}", round=request.round_number, nodes=len(request.nodes))
        return DrawShare(draw)

    def answer(self, run_id: int, request: SumRequest) -> SumShare:
        """The sum of the masks, or a refusal that names its reason and those who caused it.

        Raises:
            RecordsError: the records fail; nothing was answered, and the request may be asked again.
        """
        at = SumName(self._federation, run_id, request.round_number, request.part)
        try:
            seeds = self._seeds(at, request)
            hashes = {party: hashlib.sha256(seed).digest() for party, seed in seeds.items()}
            digest = hashlib.sha256(msgspec.msgpack.encode((run_id, request))).digest()
            absent = hashlib.sha256(msgspec.msgpack.encode(sorted(request.absent))).digest()
            self._records.count(_sum(at), digest, hashes, absent, self._clock())
        except NotCounted as no:
            log.warning("a group is not answered for", run=f"{run_id:016x}", round=request.round_number, why=str(no))
            return SumShare(refusal=no.refusal, because_of=no.because_of)
        self._note()
        total = MaskSum(request.elements, request.scalars, WIDTHS[request.bits])
        for seed in seeds.values():
            total.add(seed)
        log.info("a group is answered for", run=f"{run_id:016x}", round=request.round_number, nodes=len(seeds))
        return SumShare(total.elements.tobytes(), total.scalars.tobytes())

    def _note(self) -> None:
        """Before anything leaves: what has left is never forgotten unnoticed."""
        if self._anchor is not None:
            self._anchor.write(self._records)

    def _check_draw(self, request: DrawRequest) -> None:
        nodes = request.nodes
        if nodes != sorted(set(nodes)):
            raise NotCounted(SumRefusal.MALFORMED, [])
        if min(len(nodes), request.group_size, request.min_cohort) < self._min_cohort:
            raise NotCounted(SumRefusal.TOO_FEW, [])
        approved = self._records.approved(nodes)
        if strangers := [party for party in nodes if party not in approved or approved[party].key is None]:
            raise NotCounted(SumRefusal.NOT_APPROVED, strangers)

    def _seeds(self, at: SumName, request: SumRequest) -> dict[str, bytes]:
        parties = list(request.seeds)
        if len(parties) < self._min_cohort:
            raise NotCounted(SumRefusal.TOO_FEW, parties)
        drawn = self._records.drawn(_sum(at))
        if drawn is None:
            raise NotCounted(SumRefusal.NOT_DRAWN, [])
        self._check_terms(request)
        certificates = self._approved(parties)
        self._check_groups(at, drawn, request)
        purpose = Purpose(at, request.assignment, drawn.draw.nonce)
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

    def _check_terms(self, request: SumRequest) -> None:
        """What nodes say of themselves; that they said it is checked with their seeds."""
        said = {party: share.said for party, share in request.seeds.items()}
        if many := [party for party, terms in said.items() if terms.cohort > self._min_cohort]:
            raise NotCounted(SumRefusal.SMALL_COHORT, many)
        pairs = {party: (terms.cohort, terms.sigma) for party, terms in said.items()}
        usual, _ = Counter(pairs.values()).most_common(1)[0]
        if others := [party for party, pair in pairs.items() if pair != usual]:
            raise NotCounted(SumRefusal.UNEVEN, others)

    def _check_groups(self, at: SumName, drawn: Drawn, request: SumRequest) -> None:
        asked = drawn.request
        if commitment_of(request.reveal) != asked.commitment:
            raise NotCounted(SumRefusal.NOT_REVEALED, [])
        groups = groups_of(at, request.reveal, drawn.draw.nonce, asked.nodes, asked.group_size, asked.min_cohort)
        if strangers := [party for party in (*request.seeds, *request.absent) if party not in groups]:
            raise NotCounted(SumRefusal.NOT_WHOLE, strangers)
        if others := [party for party, share in request.seeds.items() if share.said.group != groups[party]]:
            raise NotCounted(SumRefusal.OTHER_GROUP, others)
        sums = closed(groups, request.absent, asked.min_cohort)
        whole = next((one for one in sums.values() if one.nodes == request.seeds.keys()), None)
        if whole is None:
            raise NotCounted(SumRefusal.NOT_WHOLE, [])
        if len(whole.nodes) < math.ceil(self._quorum * whole.drawn):
            raise NotCounted(SumRefusal.ABSENT, [])

    def _approved(self, parties: Sequence[str]) -> dict[str, Certificate]:
        """The certificates of these nodes, where all are approved with the keys that they have."""
        approved = self._records.approved(parties)
        strangers = [party for party in parties if party not in approved or approved[party].key is None]
        if strangers:
            raise NotCounted(SumRefusal.NOT_APPROVED, strangers)
        found = {party: self._certificate_of(party) for party in parties}
        certificates = {p: one for p, one in found.items() if one is not None and one.role is Role.NODE}
        if unknown := [party for party in parties if party not in certificates]:
            raise NotCounted(SumRefusal.UNKNOWN, unknown)
        if changed := [party for party in parties if approved[party].key != key_digest(certificates[party])]:
            raise NotCounted(SumRefusal.OTHER_KEY, changed)
        return certificates


def _sum(at: SumName) -> Sum:
    return Sum(at.run_id, at.round_number, at.part)
