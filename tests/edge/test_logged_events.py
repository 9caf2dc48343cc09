"""Of the events of a node's processes, the log gets what says nothing of records."""

import ast
import io
import sys
from pathlib import Path

import pytest

import edge
from edge.errand import run
from edge.logged_events import LOGGED, NOT_LOGGED, logged


def emitted() -> set[str]:
    """The names of all events in the code, from displays like {"event": "heard", ...} and names given to one."""
    found = set()
    for file in Path(edge.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "event":
                        found |= {n.value for n in ast.walk(value) if isinstance(n, ast.Constant)}
            named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event"
            if named and isinstance(node.value, ast.IfExp):
                found |= {ast.literal_eval(node.value.body), ast.literal_eval(node.value.orelse)}
    return found


def test_of_every_event_it_is_decided_whether_it_is_logged():
    assert emitted() == LOGGED.keys() | NOT_LOGGED
    assert not LOGGED.keys() & NOT_LOGGED


@pytest.mark.parametrize(
    "event",
    [
        {"event": "heard", "stored": 17, "until_s": 1.5},
        {"event": "taken", "sightings": 3},
        {"event": "told", "attempts": 1},
        {"event": "webhook_failed", "reason": "refused", "attempts": 1, "in_s": 30.0},
        {"event": "signed_in", "account": "sari"},
        {"event": "something new", "reason": "145.667"},
        {},
    ],
)
def test_that_somebody_was_heard_traced_or_signed_in_is_not_logged(event):
    assert logged(event) is None


def test_counts_and_names_are_left_out():
    assert logged({"event": "stopped", "stored": 17, "unsaved": 0}) == {}
    assert logged({"event": "account_locked", "account": "sari", "for_s": 60}) == {"for_s": 60}
    assert logged({"event": "matched", "batch": "1-1", "keys": 21, "seconds": 0.2}) == {"batch": "1-1", "keys": 21}


def test_an_error_that_may_quote_a_record_is_logged_by_type_and_place(monkeypatch):
    events = []
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))

    def work(_line, _emit):
        raise ValueError("slot 5 has 145.667 minutes")

    assert run(work, events.append) == 2
    said = logged(events[0])
    assert said is not None
    assert said["error"] == "ValueError"
    assert str(said["at"]).startswith("test_logged_events.py:")
    assert "145" not in str(said["error"])
    assert "reason" not in said
    assert "145.667" in events[0]["reason"]


def test_an_error_that_says_what_to_do_keeps_its_reason():
    said = logged({"event": "failed", "error": "CannotListen", "at": "", "reason": "another program has this port"})
    assert said is not None
    assert said["reason"] == "another program has this port"
