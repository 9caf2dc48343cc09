"""How much a contact counts on which day, against the published numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.tracing.scoring import Infectiousness, Scoring, infectiousness_on
from privacy.tokens.gaen import ReportType, TemporaryExposureKey

SYMPOSIUM_V2 = "NNNNNNNNNN" + "SS" + "HHHHHH" + "SS" + "NNNNNNNNN"
"""Days -14 to 14, as the table of lfph/gaen-risk-scoring has them (v2 symptom onset map)."""


def key(onset: int | None, report: ReportType = ReportType.CONFIRMED_TEST) -> TemporaryExposureKey:
    return TemporaryExposureKey(b"k" * 16, 0, report_type=report, days_since_onset=onset)


def test_infectiousness_is_that_of_the_risk_score_symposium():
    assert len(SYMPOSIUM_V2) == 29
    found = "".join(infectiousness_on(day).value[0].upper() for day in range(-14, 15))
    assert found == SYMPOSIUM_V2


@pytest.mark.parametrize(
    ("onset", "weight"), [(-14, 0), (-4, 0.3), (-2, 1), (0, 1), (3, 1), (4, 0.3), (6, 0), (None, 0.3)]
)
def test_a_days_weight_follows_its_infectiousness(onset, weight):
    assert Scoring().weight(key(onset)) == weight


@given(st.integers(-14, 14) | st.none())
def test_a_key_that_was_taken_back_counts_for_nothing(onset):
    assert Scoring().weight(key(onset, ReportType.REVOKED)) == 0


@given(st.floats(0, 2.5), st.floats(0, 2.5), st.integers(-14, 14))
def test_other_weights_are_taken_as_they_are(standard, high, onset):
    expected = {Infectiousness.NONE: 0.0, Infectiousness.STANDARD: standard, Infectiousness.HIGH: high}
    assert Scoring(standard, high).weight(key(onset)) == expected[infectiousness_on(onset)]


@pytest.mark.parametrize("wrong", [{"standard": -0.1}, {"high": 2.6}, {"high": float("nan")}, {"alert_minutes": 0.0}])
def test_weights_outside_gaens_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"not within 0\.\.2\.5|above 0"):
        Scoring(**wrong)
