"""A strategy by name: one that flwr ships, one of ours, or `module:Class`, with options from a run file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import flwr.serverapp.strategy as shipped
from flwr.serverapp.strategy import Strategy

from aggregator.strategies.averaging import TailAverage
from aggregator.strategies.streaming import Streaming

OURS: Mapping[str, type[Strategy]] = {TailAverage.__name__: TailAverage}
"""Beside those that flwr ships."""
ROUNDS = "rounds"
"""An option that a run tells a strategy which has it."""


class BadStrategy(ValueError):
    """A strategy that does not exist, or options that it does not take; the message names which and what there is."""


def names() -> list[str]:
    """The strategies that a run file can name without their module."""
    return sorted([*OURS, *(name for name in shipped.__all__ if _is_strategy(getattr(shipped, name)))])


def parameters(name: str) -> frozenset[str]:
    """The options that a strategy takes.

    Raises:
        BadStrategy: there is no such strategy.
    """
    return frozenset(inspect.signature(_class(name)).parameters)


def make(name: str, options: Mapping[str, Any], *, streaming: bool, rounds: int | None = None) -> Strategy:
    """Make a strategy.

    Args:
        streaming: wrap it, so that its memory does not grow with the number of nodes.
        rounds: of the run; a strategy that has an option `rounds` is told.

    Raises:
        BadStrategy: no such strategy, or an option it does not take or accept.
        NotLinear: it cannot stream.
    """
    kind = _class(name)
    taken = inspect.signature(kind).parameters
    for option in options:
        if option not in taken:
            near = get_close_matches(option, taken, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(taken)}"
            raise BadStrategy(f"{name} has no option {option!r}: {hint}")
    if rounds is not None and ROUNDS in taken:
        if options.get(ROUNDS, rounds) != rounds:
            raise BadStrategy(f"{name}: its option rounds is {options[ROUNDS]}, and the run has {rounds}: leave it out")
        options = {**options, ROUNDS: rounds}
    try:
        strategy = kind(**options)
    except (TypeError, ValueError) as why:
        raise BadStrategy(f"{name} does not accept its options: {why}") from why
    return Streaming(strategy) if streaming else strategy


def _class(name: str) -> type[Strategy]:
    if ":" in name:
        return _own_class(name)
    found = OURS.get(name) or (getattr(shipped, name) if name in names() else None)
    if found is None:
        near = get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
        raise BadStrategy(f"no strategy is called {name!r}: {hint} Or write module:Class for one of your own")
    kind: type[Strategy] = found
    return kind


def _own_class(name: str) -> type[Strategy]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as why:
        raise BadStrategy(f"strategy {name!r} cannot be imported: {why}") from why
    if not _is_strategy(found):
        raise BadStrategy(
            f"{name!r} is no Flower strategy that can be made: it must be a complete subclass of Strategy"
        )
    kind: type[Strategy] = found
    return kind


def _is_strategy(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Strategy) and not inspect.isabstract(found)
