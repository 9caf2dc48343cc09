"""A strategy by name: one that flwr ships, or `module:Class`, with options from a run file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import flwr.serverapp.strategy as shipped
from flwr.serverapp.strategy import Strategy

from aggregator.strategies.streaming import Streaming


class BadStrategy(ValueError):
    """A strategy that does not exist, or options that it does not take; the message names which and what there is."""


def names() -> list[str]:
    """The strategies that flwr ships and a run file can name."""
    return sorted(name for name in shipped.__all__ if _is_strategy(getattr(shipped, name)))


def parameters(name: str) -> frozenset[str]:
    """The options that a strategy takes.

    Raises:
        BadStrategy: there is no such strategy.
    """
    return frozenset(inspect.signature(_class(name)).parameters)


def make(name: str, options: Mapping[str, Any], *, streaming: bool) -> Strategy:
    """Make a strategy.

    Args:
        streaming: wrap it, so that its memory does not grow with the number of nodes.

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
    try:
        strategy = kind(**options)
    except (TypeError, ValueError) as why:
        raise BadStrategy(f"{name} does not accept its options: {why}") from why
    return Streaming(strategy) if streaming else strategy


def _class(name: str) -> type[Strategy]:
    if ":" in name:
        return _own_class(name)
    found = getattr(shipped, name, None) if name in names() else None
    if found is None:
        near = get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
        raise BadStrategy(f"flwr ships no strategy {name!r}: {hint} Or write module:Class for one of your own")
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
