"""Who takes part in a round: waiting until enough nodes are there, no longer than a deadline, and saying for whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from aggregator.grid import MqttGrid
from privacy.boundary.flower import FlowerRun
from privacy.identity.certificates import node_party

TELL_S = 5.0


class CohortTooSmall(RuntimeError):
    """Fewer nodes were there, or answered, than a round needs."""


class Cohort(Grid):
    """The grid as a strategy sees it while it chooses nodes.

    Flower's own sampling asks for nodes again and again, for ever, while there are too few; here that ends at the
    deadline.

    Args:
        enrolled: names of the nodes that should be there, by id.
        needed: how many nodes a round needs.
        on_wait: told of (present ids, missing names, needed, seconds left) at the start, at every change and every few
            seconds.
    """

    def __init__(
        self,
        grid: MqttGrid,
        enrolled: Mapping[int, str],
        needed: int,
        deadline_s: float,
        *,
        on_wait: Callable[[list[int], list[str], int, float], None] = lambda *_: None,
        fixed: Collection[int] | None = None,
    ) -> None:
        self._grid = grid
        self._enrolled = enrolled
        self._needed = needed
        self._deadline_s = deadline_s
        self._deadline = time.monotonic() + deadline_s
        self._on_wait = on_wait
        self._fixed = fixed

    @classmethod
    def of_the_past(cls, grid: MqttGrid, roster: Collection[int]) -> Cohort:
        """The nodes that were there when a round was planned."""
        return cls(grid, {}, len(roster), 1.0, fixed=roster)

    def wait(self) -> list[int]:
        """Wait until enough nodes are there.

        Raises:
            CohortTooSmall: they were not, at the deadline; names who was missing.
        """
        while len(present := self._grid.get_node_ids()) < self._needed:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise self._too_small(present)
            self._on_wait(present, self._missing(present), self._needed, left)
            self._grid.attendance.wait_for_change(present, min(TELL_S, left))
        return present

    def get_node_ids(self) -> Iterable[int]:
        if self._fixed is not None:
            return list(self._fixed)
        present = self._grid.get_node_ids()
        if time.monotonic() > self._deadline:
            raise self._too_small(present)
        return present

    def _missing(self, present: Collection[int]) -> list[str]:
        return sorted(name for node_id, name in self._enrolled.items() if node_id not in present)

    def _too_small(self, present: Collection[int]) -> CohortTooSmall:
        missing = ", ".join(self._missing(present)) or "nodes that were never enrolled in these records"
        here = ", ".join(self._enrolled.get(n) or node_party(n) for n in present) or "nobody"
        return CohortTooSmall(
            f"a round needs {self._needed} nodes; there after {self._deadline_s:.0f} s: {here}; missing: {missing}. "
            "Start the run again when they are back, or lower cohort.min_nodes"
        )

    # --- what choosing nodes does not need is the grid's own ---------------------------------------------------------

    def set_run(self, run: FlowerRun) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> FlowerRun:
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self._grid.send_and_receive(messages, timeout=timeout)
