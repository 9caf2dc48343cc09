"""Canaries: what must not be in any log, in each form in which a program could write it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator

import structlog
import torch

from simulations.attacks.fuzzing.mutation import Mutation
from simulations.attacks.fuzzing.stores import Log, minutes_of
from simulations.attacks.fuzzing.tasks import BASES, FuzzTask

PIECE = 8
"""Bytes of a secret that are enough to know it by: logs cut long values off."""


def canaries(key: bytes, log: Log) -> dict[str, list[str]]:
    """What to look for, by what it gives away: patterns of regular expressions."""
    identifiers = {who for heard in log.values() for who in heard}
    minutes = {f"{m:.4f}"[:-1] for _, m in minutes_of(log) if not float(m).is_integer()}
    return {
        "the store's key": [piece for form in _forms(key) for piece in form],
        "an identifier": [piece for who in identifiers for form in _forms(who) for piece in form],
        "the number of a unit": [rf"\b{slot}\b" for slot in log],
        "a tensor of examples": [r"tensor\(", r"Examples\(", *(rf"\b{re.escape(m)}" for m in minutes)],
    }


def found_in(text: str, wanted: dict[str, list[str]]) -> dict[str, str]:
    """What a text gives away, each with the first match."""
    found = {}
    for what, patterns in wanted.items():
        match = next((hit for hit in (re.search(pattern, text) for pattern in patterns) if hit), None)
        if match is not None:
            found[what] = match.group()
    return found


def provocations() -> Iterator[FuzzTask]:
    """Tasks that make careless code raise with records in hand."""
    wrong = (
        ("config", "learning-rate", "f:1e+39"),
        ("config", "learning-rate", "f:3.4e+38"),
        ("config", "clip-norm", "f:1e+300"),
        ("config", "clip-norm", "f:5e-324"),
        ("config", "lot-size", "i:9223372036854775807"),
        ("config", "batch-size", "i:9223372036854775807"),
        ("config", "epochs", "f:1.5"),
        ("config", "batch-size", "f:2.5"),
        ("config", "steps", "f:2.5"),
        ("config", "steps", "s:2"),
        ("config", "sampling-rate", "s:1"),
        ("config", "learning-rate", "l:1.0"),
        ("config", "metrics-noise-multiplier", "f:1e+308"),
        ("config", "noise-multiplier", "f:1e+308"),
        ("terms", "bound", "f:1e+308"),
        ("terms", "metric-bound", "f:1e-300"),
        ("terms", "weighted-by", "s:nothing"),
        ("model", "fill", "f:nan"),
        ("model", "fill", "f:3.4e+38"),
        ("model", "dtype", "s:complex64"),
        ("model", "dtype", "s:int64"),
        ("message", "type", "s:query"),
        ("message", "type", "s:train.own"),
        ("request", "int8", "i:0"),
    )
    for base in BASES:
        for place, name, value in wrong:
            yield FuzzTask(base, (Mutation(place, name, value),))


def careless_traceback(key: bytes, log: Log) -> str:
    """What structlog writes by itself of an error that is raised with a key and examples in hand."""
    written = io.StringIO()

    def work(key: bytes, records: list[tuple[int, float]]) -> None:
        examples = torch.tensor([minutes for _, minutes in records])
        raise RuntimeError(f"value cannot be converted: {len(examples)}, {len(key)}")

    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.RichTracebackFormatter())
    try:
        work(key, minutes_of(log))
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
        written.write(str(renderer(None, "error", {"event": "the app raised an error", "exc_info": info})))
    return written.getvalue()


def _forms(secret: bytes) -> Iterator[list[str]]:
    """Pieces of a secret as bytes in Python, in hex and in base64."""
    pieces = [secret[at : at + PIECE] for at in range(0, len(secret) - PIECE + 1, PIECE)]
    yield [re.escape(repr(piece)[2:-1]) for piece in pieces]
    yield [piece.hex() for piece in pieces]
    whole = base64.b64encode(secret).decode().rstrip("=")
    yield [re.escape(whole[at : at + 2 * PIECE]) for at in range(0, len(whole) - 2 * PIECE + 1, PIECE)]
