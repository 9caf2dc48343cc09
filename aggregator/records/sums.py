"""How the groups of a secure sum were drawn, and with which nodes they were closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import delete, select

from aggregator.records.drawing import Drawing
from aggregator.records.runs import Journal
from aggregator.records.schema import DrawRow, SumRow
from privacy.secure_sum.exchange import Draw, Part


@dataclass(frozen=True, slots=True)
class SumBook:
    """The draws and closings of one run, in its records: a restart has the same groups, and asks for the same sets."""

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

    def drawing(self, number: int, part: Part) -> Drawing | None:
        """The draw of a round; None if there is none yet."""
        with self.journal.records.session() as session:
            row = session.get(DrawRow, (self.journal.run_id, number, part))
            if row is None:
                return None
            draw = None if row.draw is None else msgspec.msgpack.decode(row.draw, type=Draw)
            nodes = tuple(int(node, 16) for node in row.nodes)
            return Drawing(row.secret, nodes, row.group_size, row.min_cohort, draw)

    def keep_drawing(self, number: int, part: Part, drawing: Drawing | None) -> None:
        """Write a draw down, or take back one that the helper refused. A new one opens the round's groups again.

        Raises:
            RunMoved: another coordinator has the run.
        """
        with self.journal.holding() as session:
            row = session.get(DrawRow, (self.journal.run_id, number, part))
            if row is not None and (drawing is None or row.secret != drawing.secret):
                of_sum = SumRow.run_id == self.journal.run_id, SumRow.number == number, SumRow.part == part
                session.execute(delete(SumRow).where(*of_sum))
            if drawing is None:
                if row is not None:
                    session.delete(row)
                return
            session.merge(
                DrawRow(
                    run_id=self.journal.run_id,
                    number=number,
                    part=part,
                    secret=drawing.secret,
                    nodes=[f"{node:016x}" for node in drawing.nodes],
                    group_size=drawing.group_size,
                    min_cohort=drawing.min_cohort,
                    draw=None if drawing.draw is None else msgspec.msgpack.encode(drawing.draw),
                )
            )
