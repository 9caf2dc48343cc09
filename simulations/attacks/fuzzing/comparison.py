"""When two series of observations differ for a reason other than noise."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import fisher_exact

SURE, UNSURE = 1e-5, 0.02
"""p-values: below the first two stores differ, above the second they do not; between, more is looked at."""
SLOWER_BY, SLOWER_BY_S = 1.5, 0.1
"""A store is slower if its quickest answer is later than the other's slowest by this factor and by so many seconds."""


def p_value(a: Sequence[str], b: Sequence[str]) -> float:
    """How likely two series of categories are to differ so much if both come from one source.

    The least of Fisher's exact tests of one category against all others, times their number. Values that never come
    twice, as noise does, say nothing: their p-value is 1.
    """
    categories = {*a, *b}
    if len(categories) == 1:
        return 1.0
    least = 1.0
    for category in categories:
        in_a, in_b = sum(one == category for one in a), sum(one == category for one in b)
        table = [[in_a, len(a) - in_a], [in_b, len(b) - in_b]]
        least = min(least, float(fisher_exact(table).pvalue))
    return min(1.0, least * len(categories))


def slower(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether all of one series, seconds, is clearly later than all of the other.

    Generous, for it judges what a leader could read from a single answer, on a machine that does other work as well.
    """
    for slow, quick in ((a, b), (b, a)):
        if min(slow) > max(quick) * SLOWER_BY and min(slow) > max(quick) + SLOWER_BY_S:
            return True
    return False
