"""A Flower `Grid` whose nodes are the engine's: strategies ask it as they ask the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from privacy.boundary.arrays import array_view
from privacy.boundary.flower import FlowerRun, array_records, metric_records, with_content
from simulations.engine.bench import State

FIRST_NODE = 2
"""Node numbers of Flower begin above the server's own."""
WEIGHT = "num-examples"


class Answer(NamedTuple):
    """A reply to be.

    Attributes:
        node: index of whom it comes from; of a group, of one in it.
        parameters: after training, or the mean of a group's.
        nodes: for how many nodes it stands.
    """

    node: int
    parameters: dict[str, NDArray[np.float32]]
    nodes: int


Train = Callable[[State, NDArray[np.int64]], list[Answer]]


class NotSimulated(RuntimeError):
    """A strategy asks for something that simulated nodes do not do; the message says what."""


@dataclass(slots=True)
class SimulatedGrid(Grid):
    """One round's nodes.

    Args:
        nodes: how many there are.
        train: trains those with these indices, from this state.
    """

    nodes: int
    train: Train
    asked: set[int] = field(default_factory=set)

    def get_node_ids(self) -> Iterable[int]:
        return range(FIRST_NODE, FIRST_NODE + self.nodes)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Train, and answer with what comes of it: a reply for each node, or for each group of a sum.

        Raises:
            NotSimulated: the messages are to evaluate, or ask for something else.
        """
        batches: dict[int, tuple[ArrayRecord, list[Message]]] = {}
        for message in messages:
            if message.metadata.message_type != "train":
                raise NotSimulated(f"a task to {message.metadata.message_type}: simulated nodes train, and no more")
            records = list(array_records(message.content).values())
            if len(records) != 1:
                raise NotSimulated(f"a task with {len(records)} array records; simulated nodes take one model")
            batches.setdefault(id(records[0]), (records[0], []))[1].append(message)
        replies: list[Message] = []
        for arrays, together in batches.values():
            state = model_of(arrays)
            nodes = np.array([message.metadata.dst_node_id - FIRST_NODE for message in together], np.int64)
            self.asked.update(nodes.tolist())
            to = dict(zip(nodes.tolist(), together, strict=True))
            replies += [reply(to[one.node], one.parameters, one.nodes) for one in self.train(state, nodes)]
        return replies

    def set_run(self, run: FlowerRun) -> None:
        """There is one run alone."""

    @property
    def run(self) -> FlowerRun:
        return _not("tell of its run")

    def create_message(self, *_: object, **__: object) -> Message:
        return _not("create messages: strategies make them with `Message`")

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return _not("push messages: `send_and_receive` does")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return _not("pull messages: `send_and_receive` does")


def reply(to: Message, parameters: dict[str, NDArray[np.float32]], nodes: int) -> Message:
    """A node's reply as Jaga's app makes it, or one that stands for several nodes."""
    arrays = ArrayRecord({name: Array(values) for name, values in parameters.items()})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({WEIGHT: float(nodes)})})
    return with_content(Message(RecordDict({"config": ConfigRecord()}), reply_to=to), content)


def nodes_of(answer: Message) -> int:
    """For how many nodes a reply stands."""
    return int(cast("float", metric_records(answer.content)["metrics"][WEIGHT]))


def model_of(record: ArrayRecord) -> dict[str, NDArray[np.float32]]:
    """The arrays of a record."""
    return {name: np.asarray(array_view(array), np.float32).copy() for name, array in record.items()}


def _not(what: str) -> NoReturn:
    raise NotSimulated(f"a simulated grid does not {what}")
