"""Admission: whether a node takes part in a sum, decided from public values before a record is read or budget spent."""

from __future__ import annotations

import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.learning.protocol import TrustedHelper
from edge.learning.site import Refused
from privacy.boundary.messages import Refusal
from privacy.secure_sum.draw import BadDraw, SumName, verify_draw
from privacy.secure_sum.terms import SumTerms


def admit(
    terms: SumTerms, helper: TrustedHelper | None, run_id: int, min_cohort: int, *, now: float | None = None
) -> None:
    """Check the terms of a sum against the helper that this node trusts, and against what its owner believes of it.

    Args:
        min_cohort: fewest nodes of a sum, as this node's owner believes. Shared noise is scaled to it, so a helper that
            makes smaller sums would leave them with too little.
        now: seconds since the epoch.

    Raises:
        Refused: NO_HELPER; BAD_TASK: the helper did not sign the draw for this very sum, or its time is over;
            SMALL_COHORT: it makes sums of fewer nodes.
    """
    if helper is None or terms.helper != helper.party:
        found = None if helper is None else helper.party
        raise Refused(Refusal.NO_HELPER, f"the task names {terms.helper}, this node trusts {found}")
    at = SumName(helper.federation, run_id, terms.round_number, terms.part)
    try:
        verify_draw(Ed25519PublicKey.from_public_bytes(helper.verify_key), at, terms.draw)
    except BadDraw as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why
    if terms.draw.expires_at <= (time.time() if now is None else now):
        raise Refused(Refusal.BAD_TASK, "the time of the sum's draw is over, or this node's clock is ahead")
    if terms.draw.min_cohort < min_cohort:
        raise Refused(
            Refusal.SMALL_COHORT,
            f"the helper makes sums of {terms.draw.min_cohort} nodes, and privacy.min_cohort is {min_cohort}: write "
            "what the helper's own organisation told you",
        )
    if terms.plan.most < min_cohort:
        raise Refused(Refusal.BAD_TASK, f"a code for {terms.plan.most} nodes, and a sum is over {min_cohort} at least")
