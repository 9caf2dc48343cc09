"""Flower's averaging strategies with the memory of one model, whatever the number of nodes.

Stock `FedAvg` holds every reply of a round and then averages them. A weighted mean needs no more than a running sum,
and every server optimiser that Flower builds on it (momentum, Adam, Adagrad, Yogi) sees that mean alone. So `Streaming`
adds replies up as they come, and gives the strategy it wraps one reply: their mean, with their total weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedProx, FedYogi, Strategy
from numpy.typing import NDArray

from aggregator.strategies.averaging import TailAverage
from privacy.boundary.arrays import NUMPY, accumulate, array_view, blank
from privacy.boundary.flower import array_records, check_consistency, metric_records, with_content

LINEAR = (FedAvg, FedProx, FedAvgM, FedAdam, FedAdagrad, FedYogi, TailAverage)
_AGGREGATIONS = frozenset(strategy.aggregate_train for strategy in LINEAR)
_METRICS = FedAvg(min_available_nodes=1).train_metrics_aggr_fn
"""Flower's own weighted mean of metrics."""


class NotLinear(TypeError):
    """A strategy that needs all replies at once, and cannot be given their mean."""


class Streaming(Strategy):
    """See the module.

    Args:
        inner: one of `LINEAR`, or a subclass that aggregates as they do.

    Raises:
        NotLinear: `inner` does something else with the replies than to average them.
    """

    def __init__(self, inner: Strategy) -> None:
        self.inner = _linear(inner)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.inner.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As the inner strategy's own; each reply is let go of before the next is taken."""
        mean = RunningMean(self.inner.weighted_by_key)
        failures: list[Message] = []
        for reply in replies:
            if reply.has_error():
                failures.append(reply)
            else:
                mean.add(reply)
            del reply
        arrays = mean.take()
        if type(self.inner).aggregate_train is FedAvg.aggregate_train:  # which makes four copies, to change nothing
            none, metrics = self.inner.aggregate_train(server_round, [*mean.as_reply({}), *failures])
            return (None if none is None else arrays), metrics
        held = {key: HeldArray(array_view(arrays.pop(key))) for key in list(arrays)}
        stand_ins = mean.as_reply(held)
        del held
        try:
            return self.inner.aggregate_train(server_round, [*stand_ins, *failures])
        finally:
            for reply in stand_ins:  # Flower's own way of reading records would keep them until garbage is collected
                for record in array_records(reply.content).values():
                    record.clear()

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.inner.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return self.inner.aggregate_evaluate(server_round, (_without_arrays(reply) for reply in replies))

    def summary(self) -> None:
        self.inner.summary()


def innermost(strategy: Strategy) -> Strategy:
    """The strategy inside all wrappers: the one whose options say who takes part and what weighs."""
    while isinstance(inner := getattr(strategy, "inner", None), Strategy):
        strategy = inner
    return strategy


class RunningMean:
    """The weighted mean of replies, as sums that grow with the model and not with their number.

    Args:
        weighted_by: key of the weight in each reply's metrics.
    """

    def __init__(self, weighted_by: str) -> None:
        self._weighted_by = weighted_by
        self._weight = 0.0
        self._first: Message | None = None
        self._totals: dict[str, tuple[Array, NDArray[Any]]] = {}
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._metrics: dict[str, float | list[float]] = {}

    def add(self, reply: Message) -> None:
        """Add one reply.

        Raises:
            InconsistentMessageReplies: it does not go with the first one, as Flower judges it.
            BadArrays: its arrays have other shapes.
        """
        shape = _keys_only(reply.content)
        check_consistency([self._first.content, shape] if self._first else [shape], self._weighted_by)
        if self._first is None:
            self._first = with_content(reply, shape)
        (arrays,) = array_records(reply.content).values()
        (metrics,) = metric_records(reply.content).values()
        weight = float(cast("float", metrics[self._weighted_by]))
        for key, array in arrays.items():
            if key not in self._totals:
                self._dtypes[key] = (np.empty(0, array.dtype) * 1.0).dtype
                self._totals[key] = blank(np.promote_types(self._dtypes[key], np.float32), tuple(array.shape))
            accumulate(self._totals[key][1], array, weight)
        for key, value in metrics.items():
            if key != self._weighted_by:
                self._metrics[key] = _plus(self._metrics.get(key), value, weight)
        self._weight += weight

    def take(self) -> ArrayRecord:
        """The means of the arrays. They are handed over, and not kept here."""
        record = ArrayRecord()
        for key, (array, total) in self._totals.items():
            np.divide(total, self._weight, out=total)
            dtype = self._dtypes[key]
            record[key] = array if total.dtype == dtype else Array(total.astype(dtype))
        self._totals = {}
        return record

    def as_reply(self, arrays: Mapping[str, Array]) -> list[Message]:
        """One reply that stands for all, with these arrays and the means of the metrics; none where none was added."""
        if self._first is None:
            return []
        metrics: dict[str, Any] = {key: _over(value, self._weight) for key, value in self._metrics.items()}
        content = RecordDict(
            {
                next(iter(array_records(self._first.content))): ArrayRecord(dict(arrays)),
                next(iter(metric_records(self._first.content))): MetricRecord(
                    {**metrics, self._weighted_by: self._weight}
                ),
            }
        )
        return [with_content(self._first, content)]


class AlreadyTaken(RuntimeError):
    """A mean was asked for twice; it is handed over, and not kept."""


class HeldArray(Array):
    """A Flower `Array` over values in memory, which are handed over to the first who asks."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.__dict__.update(dtype=str(values.dtype), shape=tuple(values.shape), stype=NUMPY, _values=values)

    def numpy(self) -> NDArray[Any]:
        """The values, once: they are not kept here.

        Raises:
            AlreadyTaken: they were asked for before.
        """
        values: NDArray[Any] | None = self.__dict__.pop("_values", None)
        if values is None:
            raise AlreadyTaken("the mean of a streaming round was handed over already: keep what `numpy()` gave you")
        return values

    @property
    def data(self) -> bytes:  # type: ignore[override]
        return bytes(Array(self.numpy()).data)


def _linear(inner: Strategy) -> FedAvg:
    known = ", ".join(strategy.__name__ for strategy in LINEAR)
    name = type(inner).__name__
    if not isinstance(inner, FedAvg) or type(inner).aggregate_train not in _AGGREGATIONS:
        raise NotLinear(
            f"{name} needs all replies at once, so it cannot stream: use {known}, or run it with streaming = false"
        )
    if inner.train_metrics_aggr_fn is not _METRICS:
        raise NotLinear(
            f"{name} combines metrics with a function of its own, which needs all replies: leave "
            "train_metrics_aggr_fn out, or run it with streaming = false"
        )
    return inner


def _keys_only(content: RecordDict) -> RecordDict:
    """The same records without their arrays' values."""
    light = RecordDict()
    for name, record in content.items():
        if isinstance(record, ArrayRecord):
            light[name] = ArrayRecord({key: Array(a.dtype, tuple(a.shape), a.stype, b"") for key, a in record.items()})
        else:
            light[name] = record
    return light


def _without_arrays(reply: Message) -> Message:
    if not reply.has_content() or not array_records(reply.content):
        return reply
    rest = RecordDict()
    for name, record in reply.content.items():
        if not isinstance(record, ArrayRecord):
            rest[name] = record
    return with_content(reply, rest)


def _plus(
    total: float | list[float] | None, value: float | list[int] | list[float], weight: float
) -> float | list[float]:
    if isinstance(value, list):
        before = total if isinstance(total, list) else [0.0] * len(value)
        return [t + v * weight for t, v in zip(before, value, strict=True)]
    return (total if isinstance(total, float) else 0.0) + value * weight


def _over(total: float | list[float], weight: float) -> float | list[float]:
    return [t / weight for t in total] if isinstance(total, list) else total / weight
