import json

import pytest

from aggregator.events import EventKind, RoundEvent


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_comes_back_from_its_line(kind):
    event = RoundEvent(kind, "first", 3, {"node": "Depok", "node_id": str(2**64 - 1), "seconds": 1.5, "refusal": None})
    line = event.as_json()
    assert "\n" not in line
    assert RoundEvent.from_json(line) == event


def test_what_is_not_json_is_refused_where_it_is_made():
    with pytest.raises(ValueError, match="not JSON compliant"):
        RoundEvent(EventKind.TRAINED, "first", 1, {"loss": float("nan")}).as_json()
    assert json.loads(RoundEvent(EventKind.TRAINED, "first", 1).as_json())["kind"] == "trained"
