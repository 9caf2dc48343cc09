"""What a learning task is: the one interface that a node, the demo's harness and a simulation engine share.

A task says what one training example is and, with `unit_examples`, how many examples one privacy unit can touch. The
noise of every mechanism is scaled by that number, so it is a promise: removing one unit from the log may remove at most
`unit_examples` examples and must change no other. A task may offer more units, and bound how many examples it gives:
`units` (a mapping to `PrivacyUnit`), `groups(examples, unit)` and `most_examples`, see `edge.learning.tasks.units`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from torch import Tensor, nn

from edge.store.connection import Connection

ENTRY_POINT_GROUP = "jaga.tasks"

Records = Any
"""What a task reads from a node's store, and makes examples of: a type of the task's own (`crowding`: slots and their
minutes; `proximity`: calibration sessions)."""


class UnknownTask(LookupError):
    """No installed package offers a task of that name that can be used: none, two, or a broken one."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Training examples, one row each.

    Attributes:
        x: features, float32 [n, features].
        y: what was observed, float32 [n], in the task's own unit (`crowding`: minutes; `proximity`: 1 or 0).
        units: what each example is of, n of them (`crowding`: the slot it forecasts; `proximity`: its session).
    """

    x: Tensor
    y: Tensor
    units: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.ndim != 1 or not len(self.x) == len(self.y) == len(self.units):
            raise ValueError(
                f"examples need x [n, features], y [n] and n units, "
                f"got {list(self.x.shape)}, {list(self.y.shape)} and {len(self.units)}"
            )

    def __len__(self) -> int:
        return len(self.units)


class Task(Protocol):
    """One thing to learn. Modules under `edge.learning.tasks` implement it; an entry point names the object."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str:
        """Name of the privacy unit, as the ledger keeps its budgets by."""
        ...

    @property
    def unit_examples(self) -> int:
        """How many examples one privacy unit can touch, at most."""
        ...

    @property
    def error_bound(self) -> float:
        """What `error` gives is clipped to this before it is summed and noised."""
        ...

    @property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """Columns of the node's store that `read` reads, by table. SQLite denies every other one, and the node's gate
        lets nothing out that was made of a column whose declaration (`privacy.catalogue`) does not allow it."""
        ...

    def model(self) -> nn.Module:
        """A fresh model: [n, features] -> [n]. Every layer is one that Opacus can clip per example."""
        ...

    def read(self, connection: Connection, after: float, until: float) -> Records:
        """What the task learns from, out of one node's store.

        Args:
            after, until: the store's own time, seconds: a unit is read, as a whole, if it was logged after `after` and
                no later than `until`, and not at all otherwise. The ledger's theorem rests on it.
        """
        ...

    def examples(self, records: Records) -> Examples:
        """Examples of one node from what `read` gave, or from the like of it that a simulation made."""
        ...

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Loss of each example, [n]."""
        ...

    def forecast(self, prediction: Tensor) -> Tensor:
        """The model's output in the unit of `y`, [n]: an amount, or of a classifier a probability."""
        ...

    def error(self, forecast: Tensor, y: Tensor) -> Tensor:
        """How wrong each forecast was, [n], from 0 up. `crowding`: minutes apart; `proximity`: the square of what is
        missing to certainty (Brier 1950), whose mean is least for true probabilities."""
        ...

    def baseline(self, x: Tensor) -> Tensor:
        """The forecast of a rule that learns nothing, read back from the features, [n] in the unit of `y`.

        A model that is not better than this is not worth its privacy. `crowding`: persistence, "as in the last slot".
        """
        ...


def load_task(name: str) -> Task:
    """The task called `name` among those that installed packages offer.

    Raises:
        UnknownTask: there is none, and the message lists those that there are; two packages offer one; or it cannot be
            loaded.
    """
    found = entry_points(group=ENTRY_POINT_GROUP)
    match list(found.select(name=name)):
        case [entry]:
            return _loaded(entry)
        case []:
            offered = ", ".join(sorted(entry.name for entry in found)) or "none"
            raise UnknownTask(f"no task is called {name!r} (installed: {offered}); install the package that offers it")
        case several:
            sources = " and from ".join(map(_source, several))
            raise UnknownTask(f"task {name!r} comes from {sources}: uninstall the package that is not meant")


def _loaded(entry: EntryPoint) -> Task:
    try:
        task: Task = entry.load()
    except Exception as why:  # whatever somebody's own module does when it is imported
        said = f"{type(why).__name__}: {why}"
        raise UnknownTask(f"task {entry.name!r} of {_source(entry)} cannot be loaded: {said}") from why
    if getattr(task, "name", None) != entry.name:
        raise UnknownTask(
            f"task {entry.name!r} of {_source(entry)} is none of that name: the entry point names {task!r}"
        )
    return task


def _source(entry: EntryPoint) -> str:
    """The package and what it names, as in `jaga-own (own_task:TASK)`."""
    return f"{entry.dist.name if entry.dist else 'a package'} ({entry.value})"
