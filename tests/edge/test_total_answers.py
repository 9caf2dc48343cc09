"""After the ledger is charged, an answer leaves whatever records and code do: the same in kind, length and time."""

import time
from pathlib import Path

import misbehaving_tasks
import msgspec
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from edge.learning.__main__ import answer
from edge.learning.bounds import Allowed
from edge.learning.protocol import JAGA_APP, Request, Workplace
from edge.learning.tasks import task as tasks
from edge.learning.tasks.crowding import TASK
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import SLOT_S, WINDOWS_PER_SLOT
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary import flower
from privacy.boundary.arrays import arrays_of, pack
from privacy.boundary.messages import Encoding, Refusal
from privacy.secure_sum.exchange import Part
from privacy.secure_sum.terms import TERMS, SumTerms
from privacy.secure_sum.vector import Plan

KEY = bytes(range(32))
BASE = {"task": "crowding", "noise-multiplier": 4.0, "clip-norm": 0.5, "learning-rate": 0.5, "lot-size": 10}
OWN = BASE | {"mechanism": "dp-sgd", "steps": 2, "metrics-noise-multiplier": 8.0}
SHARED = {"mechanism": "shared-noise"}
RECORD = BASE | SHARED | {"unit": "record"}
SITE = {k: v for k, v in BASE.items() if k != "lot-size"} | SHARED | {"unit": "site", "epochs": 2, "batch-size": 4}
MODES = {"own noise": (OWN, False), "record": (RECORD, True), "site": (SITE, True)}
HARMLESS = ("prints", "floods", "forks")
"""Tasks that do what they should not, and learn all the same."""
SUM = SumTerms(Plan(bound=2000.0, most=10), "helper", 1, Part.TRAIN, 0, "num-examples")


@pytest.fixture
def store(tmp_path):
    """Twenty half hours, some crowded."""
    connection = Database(tmp_path / "node.db", KEY).connect()
    now_slot = int(time.time() // SLOT_S) - 30
    for number in range(20):
        slot, logged_at = now_slot + number, float((now_slot + number + 1) * SLOT_S)
        heard = [
            Sighting(bytes([person]) * 16, slot * WINDOWS_PER_SLOT + window, 3, -150, 7500, -50, -50)
            for person in range(1 + number % 7)
            for window in range(WINDOWS_PER_SLOT)
        ]
        Sightings(connection).add(heard, logged_at=logged_at)
        Listening(connection).add(slot * SLOT_S, (slot + 1) * SLOT_S, logged_at=logged_at)
    connection.close()
    return tmp_path / "node.db"


@pytest.fixture(autouse=True)
def _misbehaving(monkeypatch):
    ordinary = tasks.load_task

    def load(name):
        return getattr(misbehaving_tasks, name.upper()) if name in misbehaving_tasks.NAMES else ordinary(name)

    monkeypatch.setattr("edge.learning.app.load_task", load)


def workplace(store: Path, **changes) -> Workplace:
    allowed = Allowed(tasks=("crowding", *misbehaving_tasks.NAMES))
    lot = {"threads": 1, "node_config": {}, "allowed": allowed, "speed": 5.0, "hold_answers": False}
    return Workplace(str(store), KEY, 7, JAGA_APP, 100.0, 1e-6, 15 * 86400.0, **(lot | changes))


def ask(place, config, *, summed=False, kind="train", state=None, number=1, **options):
    """What the trainer answers; its arrays as bytes."""
    flower.enter_run(5, flower.CENTRE)
    state = state or {name: value.numpy() for name, value in TASK.model().state_dict().items()}
    content = RecordDict(
        {
            "arrays": ArrayRecord({name: Array(np.asarray(values)) for name, values in state.items()}),
            "config": ConfigRecord(config),
        }
    )
    if summed:
        content[TERMS] = ConfigRecord(SUM.fields() | {"part": kind})
    message = Message(content, dst_node_id=7, message_type=kind)
    flower.set_message_id(message, f"{number:032x}")
    packed, sizes = pack(arrays_of(message), Encoding.EXACT, {})
    request = Request(memoryview(flower.head_of(message)), sizes, Encoding.EXACT, None, "helper", **options)
    return answer(None, place, request, memoryview(packed))


def shape(response, packed):
    """All that an observer of one answer can count."""
    return (
        response.refusal,
        len(response.flower),
        list(response.sizes),
        len(packed),
        None if response.masked is None else (response.masked.helper, response.masked.round_number),
    )


def entries(store) -> list:
    connection: Connection = Database(store, KEY).connect()
    try:
        return PrivacyLedger(connection, Budget(100.0, 1e-6, 15 * 86400.0)).entries()
    finally:
        connection.close()


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_is_made_from_the_records_and_paid_for(store, mode):
    config, summed = MODES[mode]
    response, packed = ask(workplace(store), config, summed=summed)
    assert response.refusal is None
    assert response.trouble == ""
    assert len(packed) > 0
    (entry,) = entries(store)
    assert entry.spent_at is not None


@pytest.mark.parametrize("name", [name for name in misbehaving_tasks.NAMES if name not in HARMLESS])
def test_a_task_that_fails_on_records_answers_with_noise_alone(store, name):
    good = ask(workplace(store), RECORD, summed=True)
    bad = ask(workplace(store), RECORD | {"task": name}, summed=True, number=2)
    assert shape(*bad) == shape(*good)
    assert bad[0].trouble != ""
    assert "minutes" not in bad[0].trouble
    assert all(entry.spent_at is not None for entry in entries(store))


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_task_writes_goes_nowhere(store, name, capfd):
    good = ask(workplace(store), RECORD, summed=True)
    loud = ask(workplace(store), RECORD | {"task": name}, summed=True, number=2)
    assert shape(*loud) == shape(*good)
    out, err = capfd.readouterr()
    assert "minutes" not in out + err
    assert "[(" not in out + err


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weights", [3.3e5, -1e6, 1e6])
def test_a_model_that_drives_training_out_of_range_is_answered_like_any_other(store, mode, weights):
    config, summed = MODES[mode]
    state = {"linear.weight": np.full((1, 13), weights, np.float32)}
    wild = config | {"learning-rate": 100.0, "clip-norm": 1.0}
    good = ask(workplace(store), config, summed=summed)
    bad = ask(workplace(store), wild, summed=summed, state=state, number=2)
    assert shape(*bad) == shape(*good)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning-rate", 1e39),
        ("learning-rate", float("nan")),
        ("learning-rate", "1.0"),
        ("clip-norm", 7e-46),
        ("clip-norm", 1e30),
        ("noise-multiplier", 0.0),
        ("noise-multiplier", True),
        ("steps", 10**12),
        ("epochs", 10**9),
        ("batch-size", 0),
        ("lot-size", 1.5),
        ("sampling-rate", 0.0),
    ],
)
def test_a_number_outside_its_range_is_refused_before_anything_is_charged(store, mode, key, value):
    config, summed = MODES[mode]
    response, _ = ask(workplace(store), config | {key: value}, summed=summed)
    assert response.refusal is Refusal.BAD_TASK
    assert key in response.detail
    assert entries(store) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e7])
def test_a_model_with_a_value_that_no_node_accepts_is_refused_before_anything_is_charged(store, value):
    state = {"linear.weight": np.full((1, 13), value, np.float32)}
    for number, (config, summed) in enumerate(MODES.values()):
        response, _ = ask(workplace(store), config, summed=summed, state=state, number=number)
        assert response.refusal is Refusal.BAD_MODEL
    assert entries(store) == []


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (Allowed(tasks=("proximity",)), "task 'crowding'"),
        (Allowed(mechanisms=("dp-sgd",)), "mechanism 'shared-noise'"),
        (Allowed(units=("site",)), "unit 'record'"),
    ],
)
def test_what_the_owner_does_not_allow_is_refused(store, allowed, words):
    response, _ = ask(workplace(store, allowed=allowed), RECORD, summed=True)
    assert response.refusal is Refusal.NOT_ALLOWED
    assert words in response.detail
    assert entries(store) == []


def test_an_interrupted_task_is_answered_without_records_and_charged_once(store):
    first = ask(workplace(store), RECORD, summed=True)
    again = ask(workplace(store), RECORD, summed=True, noise_only=True)
    assert shape(*again) == shape(*first)
    assert again[0].trouble != ""
    assert len(entries(store)) == 1
    assert again[0].masked.seed != first[0].masked.seed


@pytest.mark.parametrize("step", ["before the charge", "between reservation and spend"])
def test_a_task_that_was_interrupted_early_is_charged_as_ever(store, step):
    if step != "before the charge":
        ask(workplace(store), RECORD, summed=True)
        (entry,) = entries(store)
        connection = Database(store, KEY).connect()
        ledger = PrivacyLedger(connection, Budget(100.0, 1e-6, 15 * 86400.0))
        ledger.reserve(bytes.fromhex(f"{2:032x}"), entry.purpose, entry.events)
        connection.close()
    ask(workplace(store), RECORD, summed=True, number=2, noise_only=True)
    mine = [entry for entry in entries(store) if entry.message_id == bytes.fromhex(f"{2:032x}")]
    assert [entry.spent_at is not None for entry in mine] == [True]


def test_answers_leave_when_their_time_has_come_whatever_happened(store):
    """Reading, failing at once and hanging take the same time, to within what a busy machine adds."""
    place = workplace(store, speed=20.0, hold_answers=True)
    ask(place, RECORD, summed=True)  # what is imported on first use
    took = {}
    for number, name in enumerate(("crowding", "raises", "hangs"), start=2):
        started = time.monotonic()
        ask(place, RECORD | {"task": name}, summed=True, number=number)
        took[name] = time.monotonic() - started
    unheld = msgspec.structs.replace(place, hold_answers=False)
    started = time.monotonic()
    ask(unheld, RECORD, summed=True, number=9)
    took["not held"] = time.monotonic() - started
    assert took["not held"] < 0.5 * took["crowding"], took
    assert max(took["crowding"], took["raises"], took["hangs"]) < 1.5 * min(took["crowding"], took["raises"]), took


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_store_that_cannot_be_read_answers_with_noise_alone(store, kind):
    good = ask(workplace(store), OWN, kind=kind)
    connection = Database(store, KEY).connect()
    connection.execute("ALTER TABLE sightings RENAME COLUMN rssi_sum TO loudness")
    connection.close()
    damaged = ask(workplace(store), OWN, kind=kind, number=2)
    assert shape(*damaged) == shape(*good)


def test_a_task_that_expires_before_its_answer_s_time_is_refused_before_anything_is_charged(store):
    response, _ = ask(workplace(store, speed=0.5), RECORD, summed=True, seconds=3.0)
    assert response.refusal is Refusal.BAD_TASK
    assert "expires in 3 s" in response.detail
    assert entries(store) == []
