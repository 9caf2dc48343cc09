"""Draws: which nodes of a round are summed together, worked out with the helper and written down before it is asked.

The leader's random number and the list of nodes are on disk before the helper knows of them, and the helper's answer is
on disk before a node is asked: a leader that starts again has the same groups.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from aggregator.cohort import CohortTooSmall
from aggregator.records.drawing import Drawing
from privacy.identity.certificates import node_party
from privacy.secure_sum.draw import SumName, commitment_of, new_secret
from privacy.secure_sum.exchange import DrawRequest, DrawShare, Part, SumRefusal


class DrawRefused(CohortTooSmall):
    """The helper draws no groups for a round."""


class NotApproved(ValueError):
    """The helper's organisation has not approved some of the nodes.

    Attributes:
        nodes: which.
    """

    def __init__(self, nodes: Collection[int]) -> None:
        super().__init__(", ".join(node_party(node) for node in sorted(nodes)))
        self.nodes = frozenset(nodes)


class DrawHelper(Protocol):
    """The second aggregator, as it draws."""

    def draw(self, request: DrawRequest, /) -> DrawShare:
        """Its part of a draw, or a refusal. Blocks.

        Raises:
            HelperSilent: no answer in time.
        """
        ...

    def sum_name(self, number: int, part: Part, /) -> SumName:
        """The sum of one round, with the run and federation that the helper knows it by."""
        ...


class DrawBook(Protocol):
    """Where draws are written down (`records.sums.SumBook`)."""

    def drawing(self, number: int, part: Part, /) -> Drawing | None: ...

    def keep_drawing(self, number: int, part: Part, drawing: Drawing | None, /) -> None: ...


class MemoryBook:
    """A book for a run that nobody resumes."""

    def __init__(self) -> None:
        self._drawings: dict[tuple[int, Part], Drawing] = {}

    def drawing(self, number: int, part: Part) -> Drawing | None:
        return self._drawings.get((number, part))

    def keep_drawing(self, number: int, part: Part, drawing: Drawing | None) -> None:
        if drawing is None:
            self._drawings.pop((number, part), None)
        else:
            self._drawings[number, part] = drawing


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of one run.

    Attributes:
        lifetime_s: for how long the seeds of a sum are to count; the helper may give less.
    """

    helper: DrawHelper
    book: DrawBook
    lifetime_s: float
    clock: Callable[[], float] = time.time

    def of(self, number: int, part: Part, nodes: Iterable[int], group_size: int, min_cohort: int) -> Drawing:
        """The draw of a sum: the one of before, or a new one over these nodes where there is none that counts still.

        Raises:
            NotApproved: the helper draws without these nodes only; nothing was drawn.
            DrawRefused: it draws nothing.
            HelperSilent: no answer in time; the same is asked again by the next start.
        """
        drawing = self.book.drawing(number, part)
        if drawing is not None and drawing.draw is not None and drawing.draw.expires_at > self.clock():
            return drawing
        if drawing is None or drawing.draw is not None:  # one without an answer may have been answered: the same again
            drawing = Drawing(new_secret(), tuple(sorted(nodes)), group_size, min_cohort)
            self.book.keep_drawing(number, part, drawing)
        share = self.helper.draw(
            DrawRequest(
                number,
                part,
                commitment_of(drawing.secret),
                sorted(node_party(node) for node in drawing.nodes),
                drawing.group_size,
                drawing.min_cohort,
                self.lifetime_s,
            )
        )
        if share.refusal is not None:
            self.book.keep_drawing(number, part, None)  # it drew nothing
        if share.refusal is SumRefusal.NOT_APPROVED:
            known = {node_party(node): node for node in drawing.nodes}
            if strangers := {known[party] for party in share.because_of if party in known}:
                raise NotApproved(strangers)
        if share.draw is None or share.draw.commitment != commitment_of(drawing.secret):
            word = share.refusal.value if share.refusal is not None else "its answer is for another draw"
            raise DrawRefused(
                f"the helper draws no groups for round {number} ({part}): {word}. Ask its organisation, and start the "
                "run again when the cause is mended"
            )
        drawing = replace(drawing, draw=share.draw)
        self.book.keep_drawing(number, part, drawing)
        return drawing


def absent_of(drawing: Drawing, present: Collection[int]) -> list[str]:
    """The nodes of a draw that are in no sum, as the helper is told."""
    return sorted(node_party(node) for node in drawing.nodes if node not in present)
