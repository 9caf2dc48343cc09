"""Tasks of a lying leader: an honest leader's task with some fields changed, as the request that a trainer gets."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from aggregator.strategies.secure_sum import SecureSum, SumSettings
from aggregator.strategies.streaming import Streaming
from edge.learning import protocol
from edge.learning.protocol import Request
from edge.learning.tasks.task import load_task
from privacy.boundary import flower
from privacy.boundary.arrays import arrays_of
from privacy.boundary.messages import Encoding
from privacy.secure_sum.terms import TERMS
from simulations.attacks.fuzzing.mutation import ABSENT, Mutation, any_mutation, value_of
from simulations.summed import FIRST_NODE, SummedFederation

RUN, NODE = 2**63 + 5, FIRST_NODE
COHORT = 6
MOST_MUTATIONS = 4
ARRAYS, CONFIG = "arrays", "config"

SITE: dict[str, Any] = {
    "mechanism": "shared-noise",
    "unit": "site",
    "noise-multiplier": 2.0,
    "clip-norm": 0.5,
    "epochs": 1,
    "batch-size": 16,
    "learning-rate": 0.1,
}
RECORD: dict[str, Any] = {
    "mechanism": "shared-noise",
    "unit": "record",
    "noise-multiplier": 2.0,
    "clip-norm": 0.5,
    "learning-rate": 1.0,
    "lot-size": 32,
}
DP_SGD: dict[str, Any] = {
    "noise-multiplier": 2.0,
    "clip-norm": 0.5,
    "steps": 2,
    "learning-rate": 0.1,
    "sampling-rate": 1.0,
    "lot-size": 16,
    "metrics-noise-multiplier": 4.0,
}
BASES: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "site": ("train", True, SITE),
    "records": ("train", True, RECORD),
    "day": ("train", True, {**RECORD, "unit": "day"}),
    "dp-sgd": ("train", False, DP_SGD),
    "dp-sgd in a sum": ("train", True, DP_SGD),
    "evaluation": ("evaluate", False, DP_SGD),
    "evaluation in a sum": ("evaluate", True, DP_SGD),
}
"""Message type, whether it is part of a secure sum, and the `[train]` table."""
CORE = ("site", "records", "dp-sgd", "evaluation")
"""Of which a node must answer some, or a fuzzer of its answers sees nothing."""


class Unsendable(ValueError):
    """Flower has no such message, so no leader can send it."""


class FuzzTask(msgspec.Struct, frozen=True):
    """An honest task and what was changed of it."""

    base: str
    mutations: tuple[Mutation, ...] = ()

    def __str__(self) -> str:
        return "; ".join([self.base, *map(str, self.mutations)])

    def text(self) -> str:
        """As one line of JSON, for `--task`."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what `text` gave.

        Raises:
            ValueError: it is not a task, or its base is unknown.
        """
        task = msgspec.json.decode(text, type=cls)
        if task.base not in BASES:
            raise ValueError(f"base {task.base!r} is unknown; expected {', '.join(BASES)}")
        return task

    def but(self, place: str, name: str, value: str) -> FuzzTask:
        """The same with one more field changed."""
        return FuzzTask(self.base, (*self.mutations, Mutation(place, name, value)))


def any_task(rng: random.Random, *, patient: bool = True) -> FuzzTask:
    """Return a random task with up to four mutations."""
    count = rng.choice((1, 1, 2, 2, 3, MOST_MUTATIONS))
    return FuzzTask(rng.choice(tuple(BASES)), tuple(any_mutation(rng, patient=patient) for _ in range(count)))


@dataclass(frozen=True, slots=True)
class Sendable:
    """A task as the trainer gets it.

    Attributes:
        message_id: 16 bytes.
        arrays: joined bytes of the task's arrays.
    """

    message_id: bytes
    request: Request
    arrays: bytes


class Leader:
    """Makes requests of tasks. What an honest leader would send comes from the real strategy.

    Args:
        folder: for the helper's database.
        seconds: until a task expires, for nodes that are told.
    """

    def __init__(self, folder: Path, seconds: float = 12.0) -> None:
        flower.enter_run(RUN, flower.CENTRE)
        self._seconds = seconds
        self._sent = 0
        state = load_task("crowding").model().state_dict()
        self._model = {name: tensor.numpy() for name, tensor in state.items()}
        federation = SummedFederation(folder, COHORT, COHORT, RUN)
        strategy = SecureSum(Streaming(FedAvg()), SumSettings("helper", bound=64.0, min_cohort=COHORT), federation)
        arrays = ArrayRecord({name: Array(values) for name, values in self._model.items()})
        grid: Any = _Nodes()
        self._terms = {
            part: dict(next(iter(asks(1, arrays, ConfigRecord({}), grid))).content.config_records[TERMS].items())
            for part, asks in (("train", strategy.configure_train), ("evaluate", strategy.configure_evaluate))
        }
        self._helper = _trusted(federation)
        federation.close()

    def sendable(self, task: FuzzTask) -> Sendable:
        """Return a new request for a task; its message id was never used before.

        Raises:
            Unsendable: Flower has no such message.
        """
        self._sent += 1
        message_id = hashlib.sha256(f"fuzz {self._sent}".encode()).digest()[:16]
        try:
            return self._sendable(task, message_id)
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError, IndexError) as why:
            raise Unsendable(f"{task}: {why}") from why

    def _sendable(self, task: FuzzTask, message_id: bytes) -> Sendable:
        kind, summed, table = BASES[task.base]
        config: dict[str, Any] = {"task": "crowding", "server-round": 1, **table}
        terms = dict(self._terms[kind])
        changed = {place: [one for one in task.mutations if one.place == place] for place in PLACES}
        for fields, place in ((config, "config"), (terms, "terms")):
            for one in changed[place]:
                if one.value == ABSENT:
                    fields.pop(one.name, None)
                else:
                    fields[one.name] = value_of(one.value)
        arrays = _model(self._model, changed["model"])
        content: dict[str, Any] = {ARRAYS: arrays, CONFIG: ConfigRecord(config)}
        if summed:
            content[TERMS] = ConfigRecord(terms)
        _records(content, changed["records"])
        metadata = {one.name: value_of(one.value) for one in changed["message"]}
        message = Message(RecordDict(content), NODE, kind)
        flower.set_message_id(message, message_id.hex())
        for name, field in (("type", "_message_type"), ("dst", "_dst_node_id"), ("run", "_run_id")):
            if name in metadata:
                message.metadata.__dict__[field] = metadata[name]
        return self._request(message, message_id, changed["request"])

    def _request(self, message: Message, message_id: bytes, changed: list[Mutation]) -> Sendable:
        parts = [array.data for array in arrays_of(message).values()]
        sizes, joined, head = [len(part) for part in parts], b"".join(parts), flower.head_of(message)
        context, encoding, helper = None, Encoding.EXACT, self._helper
        for one in changed:
            number = int(float(str(value_of(one.value))))
            if one.name == "cut":
                joined = joined[: -1 - number % 50]
            elif one.name == "grow":
                sizes = [*sizes, number % 100]
            elif one.name == "flip" and head:
                at = number % len(head)
                head = head[:at] + bytes([head[at] ^ 0x20]) + head[at + 1 :]
            elif one.name == "context":
                context = memoryview(bytes([number % 256]) * 8)
            elif one.name == "int8":
                encoding = Encoding.INT8
            elif one.name == "no-helper":
                helper = None
        extra = {"seconds": self._seconds} if "seconds" in Request.__struct_fields__ else {}
        request = Request(memoryview(head), sizes, encoding, context, helper, **extra)
        return Sendable(message_id, request, joined)


PLACES = ("config", "terms", "model", "records", "message", "request")


def _model(model: Mapping[str, np.ndarray[Any, Any]], changed: list[Mutation]) -> ArrayRecord:
    arrays = {name: values.copy() for name, values in model.items()}
    for one in changed:
        value = value_of(one.value)
        if one.name in ("drop", "extra", "rename"):
            first = next(iter(arrays), "")
            if not first:
                continue
            if one.name != "extra":
                taken = arrays.pop(first)
            if one.name != "drop":
                arrays["other"] = np.zeros(3, np.float32) if one.name == "extra" else taken
            continue
        for name, values in arrays.items():
            arrays[name] = _changed(values, one.name, value)
    return ArrayRecord({name: Array(np.ascontiguousarray(values)) for name, values in arrays.items()})


def _changed(values: np.ndarray[Any, Any], name: str, value: Any) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):
        if name == "dtype":
            return values.astype(str(value))
        if name == "shape":
            shapes: dict[str, Any] = {
                "empty": values[:0],
                "flat": values.reshape(-1),
                "deep": values.reshape(1, *values.shape),
                "scalar": values.reshape(-1)[0],
                "wide": np.concatenate([values, values], axis=-1),
            }
            return np.asarray(shapes[str(value)])
        flat = values.reshape(-1).copy()
        number = np.float64(value)
        if name == "fill":
            flat[:] = number
        elif name == "rest":
            flat[1:] = number
        elif name == "scale":
            flat = (flat.astype(np.float64) * number).astype(flat.dtype)
        elif flat.size:
            flat[0 if name == "first" else -1] = number
        return flat.reshape(values.shape)


def _records(content: dict[str, Any], changed: list[Mutation]) -> None:
    for one in changed:
        if one.name == "no-config":
            content.pop(CONFIG, None)
        elif one.name == "no-arrays":
            content.pop(ARRAYS, None)
        elif one.name == "no-terms":
            content.pop(TERMS, None)
        elif one.name == "two-configs":
            content["again"] = ConfigRecord({"task": "crowding"})
        elif one.name == "two-arrays":
            content["more"] = ArrayRecord({"w": Array(np.zeros(2, np.float32))})
        else:
            content["metrics"] = MetricRecord({"num-examples": 3.0})


def _trusted(federation: SummedFederation) -> Any:
    """What a request says of the helper that the node trusts: its name, or all that its draws are checked against."""
    certificate = federation.helper.certificate
    whole = getattr(protocol, "TrustedHelper", None)
    if whole is None:
        return certificate.party
    return whole(certificate.party, certificate.federation, certificate.verify_key.public_bytes_raw())


class _Nodes:
    """What strategies ask of a grid when they choose nodes."""

    def get_node_ids(self) -> list[int]:
        return list(range(FIRST_NODE, FIRST_NODE + COHORT))
