"""Mutations of a task: one changed field each, as text that a person can read, copy and run again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import msgspec

ABSENT = "-"

FLOATS = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0),
    *(5e-324, 1e-310, 7e-46, 1.4e-45, 1e-40, 1.2e-38, 1e-20, 1e-12, 1e-6, 1e-3, 0.5, 1.0, 2.0, 10.0, 1e3, 1e6),
    *(1e12, 1e20, 1e30, 1e38, 1.7e38, 3.3e38, 3.4028e38, 3.5e38, 1e39, 1e100, 1e308),
)
INTS = (-(2**63), -1, 0, 1, 2, 3, 7, 16, 64, 100, 1000, 65_536, 10**6, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1)
LONG = 100_000
WORDS = (
    "",
    "crowding",
    "proximity",
    "nothing",
    "crowding\x00",
    "dp-sgd",
    "shared-noise",
    "record",
    "slot",
    "day",
    "site",
)
NAMES = ("num-examples", "epsilon", "error-sum", "error-count", "nothing", "")

FLOAT_FIELDS = {
    "config": (
        "learning-rate",
        "clip-norm",
        "noise-multiplier",
        "metrics-noise-multiplier",
        "sampling-rate",
        "lot-size",
        "batch-size",
    ),
    "terms": ("bound", "weight-bound", "metric-bound"),
    "model": ("fill", "first", "last", "scale", "rest"),
}
INT_FIELDS = {
    "config": ("lot-size", "batch-size", "noise-multiplier", "server-round"),
    "terms": ("most", "bits", "group", "round"),
    "request": ("cut", "grow", "flip"),
}
LOOPS = ("steps", "epochs")
"""Every pass of them takes time, so most of their values are small."""
WORD_FIELDS = {"config": ("task", "mechanism", "unit", "own"), "terms": ("helper", "part", "weighted-by")}
ODD = {
    "model": ("dtype", "shape", "rename", "drop", "extra"),
    "records": ("no-config", "no-arrays", "no-terms", "two-configs", "two-arrays", "metrics"),
    "message": ("type", "dst", "run"),
    "request": ("context", "int8", "no-helper"),
}
DTYPES = ("float16", "float64", "int32", "int64", "uint8", "bool", "complex64", "<U4")
SHAPES = ("empty", "flat", "deep", "scalar", "wide")
TYPES = ("train", "evaluate", "query", "train.own", "evaluate.own", "query.own", "", "nothing")


Value = bool | int | float | str | bytes | list[float]

_READERS: dict[str, Callable[[str], Value]] = {
    "t": lambda text: text == "1",
    "i": int,
    "f": float,
    "b": bytes.fromhex,
    "l": lambda text: [float(one) for one in text.split(",") if one],
    "s": str,
    "r": lambda text: text * LONG,
}


class Mutation(msgspec.Struct, frozen=True, array_like=True):
    """One changed field.

    Attributes:
        place: `config`, `terms`, `model`, `records`, `message` or `request`.
        name: of the field.
        value: a literal, see `literal`.
    """

    place: str
    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.place} {self.name} = {self.value if len(self.value) < 60 else self.value[:40] + '…'}"


def literal(value: object) -> str:
    """Return a value as text: a letter for its type, then the value."""
    match value:
        case bool():
            return f"t:{int(value)}"
        case int():
            return f"i:{value}"
        case float():
            return f"f:{value!r}"
        case bytes():
            return f"b:{value.hex()}"
        case list():
            return "l:" + ",".join(map(repr, value))
        case _:
            text = str(value)
            same = len(text) == LONG and len(set(text)) == 1
            return f"r:{text[0]}" if same else f"s:{text}"


def value_of(text: str) -> Value:
    """Return the value that `literal` wrote.

    Raises:
        ValueError: the text is not one.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _READERS:
        raise ValueError(f"{text[:60]!r} is not a literal: expected {', '.join(_READERS)}, a colon and a value")
    return _READERS[kind](rest)


def any_float(rng: random.Random) -> float:
    """Return a float at which arithmetic may change its mind."""
    if rng.random() < 0.5:
        return rng.choice(FLOATS)
    return float(rng.choice((1, 1, -1)) * 10 ** rng.uniform(-46, 40))


def any_mutation(rng: random.Random, *, patient: bool = True) -> Mutation:
    """Return a random mutation.

    Args:
        patient: loops may be long enough to run into a time limit.
    """
    roll = rng.random()
    if roll < 0.5:
        place = rng.choice(("config", "config", "terms", "model", "model"))
        return Mutation(place, rng.choice(FLOAT_FIELDS[place]), literal(any_float(rng)))
    if roll < 0.6:
        place = rng.choice(tuple(INT_FIELDS))
        return Mutation(place, rng.choice(INT_FIELDS[place]), literal(rng.choice(INTS)))
    if roll < 0.66:
        most = 2**40 if patient and rng.random() < 0.05 else 20
        return Mutation("config", rng.choice(LOOPS), literal(rng.choice((-1, 0, 1, 2, 3, most))))
    if roll < 0.76:
        place = rng.choice(tuple(WORD_FIELDS))
        word = rng.choice((*WORDS, *NAMES, "x" * LONG, "train", "evaluate", "helper"))
        return Mutation(place, rng.choice(WORD_FIELDS[place]), literal(word))
    if roll < 0.86:
        place = rng.choice(("config", "terms"))
        name = rng.choice((*FLOAT_FIELDS[place], *INT_FIELDS[place], *WORD_FIELDS[place]))
        wrong = rng.choice((ABSENT, "t:1", "b:00ff", "l:1.0,2.0", "l:", "s:1", "s:", "i:1", "f:1.0"))
        return Mutation(place, name, wrong)
    return _odd(rng)


def _odd(rng: random.Random) -> Mutation:
    place = rng.choice(tuple(ODD))
    name = rng.choice(ODD[place])
    options = {"dtype": DTYPES, "shape": SHAPES, "type": TYPES}.get(name)
    value = literal(rng.choice(options) if options else rng.choice((0, 1, 2, 2**63 - 1)))
    return Mutation(place, name, value)
