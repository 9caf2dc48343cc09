"""A strategy by name: one that flwr ships, one that an installed package offers, or `module:Class`.

A package offers its own by an entry point, and then the centre's run file and an experiment of `jaga-sim run` name it
as they name one of Flower's:

    [project.entry-points."jaga.strategies"]
    bounded = "own_strategy:Bounded"
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeGuard

import flwr.serverapp.strategy as shipped
from flwr.serverapp.strategy import Strategy

from aggregator.strategies.streaming import Streaming

ENTRY_POINT_GROUP = "jaga.strategies"
ROUNDS = "rounds"
"""An option that a run tells a strategy which has it."""


class BadStrategy(ValueError):
    """A strategy that does not exist, or options that it does not take; the message names which and what there is."""


def names() -> list[str]:
    """The strategies that flwr ships and a run file can name."""
    return sorted(name for name in shipped.__all__ if _is_strategy(getattr(shipped, name)))


def offered() -> list[str]:
    """The names under which installed packages offer strategies of their own."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)})


def parameters(name: str) -> frozenset[str]:
    """The options that a strategy takes.

    Raises:
        BadStrategy: there is no such strategy.
    """
    return frozenset(_options(_class(name)))


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
    taken = _options(kind)
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
        module, _, attribute = name.partition(":")
        try:
            return _checked(f"strategy {name!r}", getattr(import_module(module), attribute))
        except (ImportError, AttributeError, ValueError) as why:
            raise BadStrategy(f"strategy {name!r} cannot be imported: {why}") from why
    entries = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    sources = [_source(entry) for entry in entries] + ["flwr itself"] * (name in names())
    if len(sources) > 1:
        raise BadStrategy(
            f"strategy {name!r} comes from {' and from '.join(sources)}: write module:Class for the one that is meant, "
            "or uninstall a package"
        )
    if entries:
        return _own_class(entries[0])
    if name in names():
        kind: type[Strategy] = getattr(shipped, name)
        return kind
    own = offered()
    near = get_close_matches(name, [*names(), *own], 1)
    hint = f"did you mean {near[0]}?" if near else f"flwr ships {', '.join(names())}."
    raise BadStrategy(
        f"no strategy is called {name!r}: {hint} Installed packages offer {', '.join(own) or 'none'}. "
        "Or write module:Class for one of your own"
    )


def _options(kind: type[Strategy]) -> list[str]:
    """Names of its parameters. An `__init__` with `**options` hands them on to the class above, as a rule."""
    taken: list[str] = []
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *own = inspect.signature(vars(base)["__init__"]).parameters.values()
        taken += [one.name for one in own if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        if all(one.kind is not one.VAR_KEYWORD for one in own):
            break
    return taken


def _own_class(entry: EntryPoint) -> type[Strategy]:
    said = f"strategy {entry.name!r} of {_source(entry)}"
    try:
        found = entry.load()
    except Exception as why:  # whatever somebody's own module does when it is imported
        raise BadStrategy(f"{said} cannot be loaded: {type(why).__name__}: {why}") from why
    return _checked(said, found)


def _checked(said: str, found: object) -> type[Strategy]:
    if not _is_strategy(found):
        raise BadStrategy(f"{said} is none that can be made: it must be a complete subclass of Flower's Strategy")
    return found


def _source(entry: EntryPoint) -> str:
    """The package and what it names, as in `jaga-own (own_strategy:Bounded)`."""
    return f"{entry.dist.name if entry.dist else 'a package'} ({entry.value})"


def _is_strategy(found: object) -> TypeGuard[type[Strategy]]:
    return isinstance(found, type) and issubclass(found, Strategy) and not inspect.isabstract(found)
