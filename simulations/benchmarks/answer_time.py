"""What the time of a node's answer says of its records, with answers held back and without.

One node's trainer process answers the same task from stores with no records, with a day's and with fourteen days'. An
observer who knows all three guesses from the seconds alone. Turns of the stores alternate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from numpy.typing import NDArray

from edge.learning.process import TrainerProcess
from edge.learning.protocol import JAGA_APP, Request, Workplace
from edge.learning.tasks.crowding import TASK
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import SLOT_S, WINDOWS_PER_SLOT
from privacy.boundary.arrays import arrays_of, pack
from privacy.boundary.flower import CENTRE, enter_run, head_of, set_message_id
from privacy.boundary.messages import Encoding
from privacy.secure_sum.exchange import Part
from privacy.secure_sum.terms import TERMS, SumTerms
from privacy.secure_sum.vector import Plan
from simulations.benchmarks.table import Column, Outcome, Target

KEY = bytes(32)
NODE = 7
SLOTS_A_DAY = 20
LARGE = 1e9
"""An epsilon that no number of turns spends."""
TRAIN: Mapping[str, str | float | int] = {
    "task": TASK.name,
    "mechanism": "shared-noise",
    "unit": "record",
    "noise-multiplier": 4.0,
    "clip-norm": 0.5,
    "learning-rate": 0.5,
    "lot-size": 200,
}
TERMS_OF_SUM = SumTerms(Plan(bound=4.0, most=10), "helper", 1, Part.TRAIN, 0, "num-examples")


@dataclass(frozen=True, slots=True)
class AnswerTimeSettings:
    """How much is measured.

    Attributes:
        turns: answers from each store, held and not held.
        speed: of this machine over the reference machine, as a node's owner says it.
    """

    turns: int = 40
    speed: float = 20.0


class WentWrong(RuntimeError):
    """A trainer refused the task, or did not learn from the records."""


def run_answer_time(settings: AnswerTimeSettings, folder: Path, tell: Callable[[str], None]) -> Outcome:
    """Measure, beside each other, answers that are held back and answers that are not.

    Raises:
        WentWrong: see there.
    """
    stores = {name: _store(folder / f"{days}.db", days) for name, days in (("none", 0), ("a day", 1), ("14 days", 14))}
    rows, apart = [], dict[bool, float]()
    for held in (False, True):
        tell(f"answers {'held back' if held else 'sent when ready'}")
        seconds = _seconds(stores, settings, held=held)
        apart[held] = _apart(seconds["14 days"], seconds["none"])
        for name, taken in seconds.items():
            low, median, high = map(float, np.percentile(taken, (25, 50, 75)))
            rows.append({"held": "yes" if held else "no", "records": name, "median": median, "low": low, "high": high})
    return Outcome(
        "answer time",
        [
            Column("held", "held back"),
            Column("records", "records"),
            Column("median", "median s", ".3f"),
            Column("low", "25 %", ".3f"),
            Column("high", "75 %", ".3f"),
        ],
        rows,
        [
            Target("distance of the medians of 14 days and none, over the quartiles' range: held back", apart[True], 1),
            Target("1 over the same of answers sent when ready, which shows that time tells", 1 / apart[False], 1),
        ],
        {"turns": settings.turns, "speed": settings.speed},
    )


def _apart(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How far two medians are apart, over the wider of the two quartiles' ranges."""
    spread = max(float(np.subtract(*np.percentile(taken, (75, 25)))) for taken in (first, second))
    return abs(float(np.median(first) - np.median(second))) / max(spread, 1e-6)


def _seconds(stores: Mapping[str, Path], settings: AnswerTimeSettings, *, held: bool) -> dict[str, NDArray[np.float64]]:
    taken: dict[str, list[float]] = {name: [] for name in stores}
    with _trainers(stores, settings.speed, held=held) as trainers:
        for turn in range(settings.turns + 1):
            for name, trainer in trainers.items():
                request, packed = _task(turn)
                started = time.perf_counter()
                response, _ = trainer.run(request, packed, 600.0)
                if response.refusal is not None or response.trouble:
                    raise WentWrong(f"{name}: {response.refusal or response.trouble} {response.detail}")
                if turn:  # the first one imports
                    taken[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in taken.items()}


@contextmanager
def _trainers(stores: Mapping[str, Path], speed: float, *, held: bool) -> Iterator[dict[str, TrainerProcess]]:
    trainers = {
        name: TrainerProcess(
            Workplace(str(path), KEY, NODE, JAGA_APP, LARGE, 1e-6, 15 * 86400.0, 1, {}, speed=speed, hold_answers=held),
            linger_s=3600.0,
        )
        for name, path in stores.items()
    }
    try:
        yield trainers
    finally:
        for trainer in trainers.values():
            trainer.stop()


def _task(number: int) -> tuple[Request, bytes]:
    enter_run(1, CENTRE)
    arrays = ArrayRecord({name: Array(value.numpy()) for name, value in TASK.model().state_dict().items()})
    content = RecordDict(
        {"arrays": arrays, "config": ConfigRecord({**TRAIN}), TERMS: ConfigRecord({**TERMS_OF_SUM.fields()})}
    )
    message = Message(content, dst_node_id=NODE, message_type="train")
    set_message_id(message, f"{number:032x}")
    packed, sizes = pack(arrays_of(message), Encoding.EXACT, {})
    return Request(memoryview(head_of(message)), sizes, Encoding.EXACT, None, TERMS_OF_SUM.helper), packed


def _store(path: Path, days: int) -> Path:
    connection = Database(path, KEY).connect()
    today = int(time.time() // 86400)
    for day in range(today - days, today):
        for slot in range(48 * day + 14, 48 * day + 14 + SLOTS_A_DAY):
            logged_at = float((slot + 1) * SLOT_S)
            heard = [
                Sighting(bytes([person]) * 16, slot * WINDOWS_PER_SLOT + window, 3, -150, 7500, -50, -50)
                for person in range(4)
                for window in range(WINDOWS_PER_SLOT)
            ]
            Sightings(connection).add(heard, logged_at=logged_at)
            Listening(connection).add(slot * SLOT_S, (slot + 1) * SLOT_S, logged_at=logged_at)
    connection.close()
    return path
