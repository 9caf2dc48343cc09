"""Whether a reply can be averaged with the others. One node's bad reply must not end a round."""

from __future__ import annotations

import math
from collections.abc import Callable

from flwr.app import ArrayRecord, Message

from privacy.boundary.arrays import NUMPY, BadArrays, is_finite
from privacy.boundary.flower import array_records, metric_records

Shape = dict[str, dict[str, int | None]]
"""By record name, the keys of each metric record, with the length of a list, and of each array record."""


class Screen:
    """Looks at the replies to one phase's tasks, one by one.

    Args:
        model: training replies hold the same arrays, of the same shapes, all numbers finite. None for an evaluation.
        weighted_by: key of each reply's weight, a positive number; None where the strategy has none.
    """

    def __init__(self, model: ArrayRecord | None, weighted_by: str | None) -> None:
        self._model = model
        self._weighted_by = weighted_by
        self._first: Shape | None = None

    def fault(self, reply: Message) -> str | None:
        """What is wrong with a reply; None where it can be averaged."""
        checks: tuple[Callable[[Message], str | None], ...] = (self._of_weight, self._of_arrays, self._of_shape)
        return next((fault for check in checks if (fault := check(reply)) is not None), None)

    def _of_weight(self, reply: Message) -> str | None:
        if self._weighted_by is None:
            return None
        records = list(metric_records(reply.content).values())
        if len(records) != 1 or self._weighted_by not in records[0]:
            return f"it holds no {self._weighted_by!r} in its metrics"
        weight = records[0][self._weighted_by]
        if isinstance(weight, list) or not math.isfinite(weight) or weight <= 0:
            return f"its {self._weighted_by!r} is {weight!r}, which is no weight"
        return None

    def _of_arrays(self, reply: Message) -> str | None:
        if self._model is None:
            return None
        records = list(array_records(reply.content).values())
        if len(records) != 1 or set(records[0]) != set(self._model):
            return f"it holds arrays {[sorted(record) for record in records]}, the model {sorted(self._model)}"
        for key, array in records[0].items():
            found, wanted = tuple(array.shape), tuple(self._model[key].shape)
            if array.stype != NUMPY or found != wanted:
                return f"array {key!r} has shape {found} as {array.stype}, the model's {wanted} as {NUMPY}"
            try:
                if not is_finite(array):
                    return f"array {key!r} holds values that are not finite"
            except (BadArrays, TypeError) as why:
                return f"array {key!r}: {why}"
        return None

    def _of_shape(self, reply: Message) -> str | None:
        """Flower averages what has the same names everywhere; the first reply says which."""
        shape = _shape(reply)
        if self._first is None:
            self._first = shape
        return None if shape == self._first else f"its records are {shape}, those before it {self._first}"


def _shape(reply: Message) -> Shape:
    arrays: Shape = {name: dict.fromkeys(record) for name, record in array_records(reply.content).items()}
    metrics: Shape = {
        name: {key: len(value) if isinstance(value, list) else None for key, value in record.items()}
        for name, record in metric_records(reply.content).items()
    }
    return arrays | metrics
