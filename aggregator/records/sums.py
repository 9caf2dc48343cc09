"""With which nodes the groups of a secure sum were closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from aggregator.records.runs import Journal
from aggregator.records.schema import SumRow
from privacy.secure_sum.exchange import Part


@dataclass(frozen=True, slots=True)
class SumBook:
    """The closings of one run, in its records: a restart asks the helper for the very same sets again."""

    journal: Journal

    def closed(self, number: int, part: Part) -> list[list[int]]:
        """The groups of a round, as lists of node ids; none where it was not closed yet."""
        rows = select(SumRow).where(SumRow.run_id == self.journal.run_id, SumRow.number == number, SumRow.part == part)
        with self.journal.records.session() as session:
            return [[int(node, 16) for node in row.nodes] for row in session.scalars(rows.order_by(SumRow.place))]

    def close(self, number: int, part: Part, groups: Sequence[Sequence[int]]) -> None:
        """Write the groups down, once.

        Raises:
            RunMoved: another coordinator has the run.
        """
        with self.journal.holding() as session:
            session.add_all(
                SumRow(
                    run_id=self.journal.run_id,
                    number=number,
                    part=part,
                    place=place,
                    nodes=[f"{node:016x}" for node in nodes],
                )
                for place, nodes in enumerate(groups)
            )
