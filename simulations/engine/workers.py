"""Who trains a round's pieces: processes of this machine (`processes`), or a Ray cluster's (`ray_workers`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from edge.learning.tasks.task import Task
from simulations.engine.bench import Piece, Reduced_co, Round
from simulations.engine.cohort import CohortExamples

Lot = Sequence[Piece]
"""Pieces that one worker trains, one after the other, for one message."""


class WorkerDied(RuntimeError):
    """A worker ended in the middle of its work."""


class Workers(Protocol):
    """Some that run, each with the task and all examples."""

    @property
    def count(self) -> int:
        """How many train at once."""
        ...

    def run(self, asked: Round[Reduced_co], lots: Sequence[Lot]) -> Iterator[list[Reduced_co]]:
        """What came of each lot, in their order; what is not taken is dropped.

        Raises:
            WorkerDied: one of them did, and its work could not be done again.
            Exception: what a lot raised.
        """
        ...

    def close(self) -> None:
        """End them."""
        ...


class Backend(Protocol):
    """Where workers run: a value without any of them yet, as an experiment's settings give it."""

    def start(self, task: Task, examples: CohortExamples) -> Workers:
        """Start them; `task` must be picklable where they are other processes."""
        ...
