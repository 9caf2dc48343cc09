"""What can be seen of one task at one node: what leaves, what the ledger says, what is written, how long it took."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec
import numpy as np

from edge.learning.protocol import Response
from privacy.boundary import flower
from privacy.boundary.arrays import arrays_of, unpack
from privacy.boundary.messages import Encoding

NOISED = frozenset({"error-sum", "error-count"})
"""Metrics with noise on them; of these only the kind of number is compared, of all others the value."""
JUDGED = ("refusal", "died", "frame", "metrics", "numbers", "charge", "log")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_SPACE = re.compile(r"[ \t]+")


class Observation(msgspec.Struct, frozen=True):
    """All of it, as text to compare.

    Attributes:
        refusal: the word that the centre gets, empty for an answer.
        died: whether the trainer's process ended.
        frame: names, types, shapes and lengths of everything in the answer.
        metrics: their names, and the values of those that are not noised.
        numbers: which arrays hold NaN or infinity, or did not change at all.
        charge: entries that the ledger made for this task.
        log: what node and trainer wrote, without times and addresses.
        detail: stays in the node; not judged unless it is in `log`.
        seconds: not compared here, see `comparison.slower`.
        values: of the arrays that leave in the clear; noised, so not judged.
    """

    refusal: str
    died: str
    frame: str
    metrics: str
    numbers: str
    charge: str
    log: str
    detail: str
    seconds: float
    values: tuple[float, ...] = ()

    def field(self, name: str) -> str:
        """One of `JUDGED`."""
        return str(getattr(self, name))


def observe(
    response: Response, packed: memoryview, seconds: float, *, died: bool, charge: str, log: str
) -> Observation:
    """Look at one answer."""
    frame, metrics, numbers, values = _reply(response, packed) if response.flower else ("", "", "", ())
    return Observation(
        refusal="" if response.refusal is None else response.refusal.value,
        died="died" if died else "",
        frame=f"{frame} sizes {response.sizes} packed {len(packed)} {_state(response)} {_share(response)}",
        metrics=metrics,
        numbers=numbers,
        charge=charge,
        log=quiet(log),
        detail=response.detail,
        seconds=seconds,
        values=values,
    )


def quiet(text: str) -> str:
    """Return logged text without colours, times and addresses, which differ for reasons that are no secret."""
    for pattern, instead in ((_COLOUR, ""), (_TIME, "TIME"), (_ADDRESS, "ADDRESS"), (_SPACE, " ")):
        text = pattern.sub(instead, text)
    return text.strip()


def _reply(response: Response, packed: memoryview) -> tuple[str, str, str, tuple[float, ...]]:
    """Frame, metrics, numbers and values of a Flower reply."""
    message = flower.message_of(response.flower)
    frame = [f"head {len(response.flower)} {message.metadata.message_type}"]
    metrics: list[str] = []
    for name, record in message.content.items() if message.has_content() else ():
        for key, value in record.items():
            frame.append(f"{name}.{key} {type(record).__name__} {_kind(value)}")
            if type(record).__name__ == "MetricRecord":
                metrics.append(f"{key} {_metric(key, value)}")
    # An int8 answer is unpacked against the task's arrays, which are not at hand: its sizes say what there is to see.
    numbers: list[str] = []
    values: tuple[float, ...] = ()
    if response.masked is None and message.has_content():
        try:
            unpack(message, packed, response.sizes, Encoding.EXACT, {})
            arrays = {key: array.numpy() for key, array in arrays_of(message).items()}
            numbers = [f"{key} {_finite(array)}" for key, array in arrays.items()]
            values = tuple(float(one) for array in arrays.values() if array.dtype.kind == "f" for one in array.ravel())
        except ValueError:
            numbers = ["packed in steps"]
    return "; ".join(frame), "; ".join(metrics), "; ".join(numbers), values


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{value.dtype} {list(shape)}"
    return f"{type(value).__name__}{len(value) if isinstance(value, str | bytes | list) else ''}"


def _metric(key: str, value: Any) -> str:
    if key not in NOISED:
        return repr(value)
    return Counter(_number(one) for one in (value if isinstance(value, list) else [value])).__repr__()


def _number(value: float) -> str:
    return "finite" if np.isfinite(value) else repr(float(value))


def _finite(values: Any) -> str:
    values = np.asarray(values)
    if values.dtype.kind not in "fc":
        return str(values.dtype)
    if np.isfinite(values).all():
        return "finite"
    return f"{int(np.isnan(values).sum())} nan, {int(np.isinf(values).sum())} inf"


def _state(response: Response) -> str:
    return "no state" if response.context is None else f"state {len(response.context)}"


def _share(response: Response) -> str:
    """Public fields of a masked share; the seed is drawn at random, and its length is what can be seen of it."""
    if response.masked is None:
        return "clear"
    fields = {name: getattr(response.masked, name) for name in response.masked.__struct_fields__}
    return "masked " + ", ".join(
        f"{name} {len(value) if isinstance(value, bytes) else value}" for name, value in fields.items()
    )
