"""Drawing: the draw of one sum's groups as the leader knows it, its own random number included."""

from __future__ import annotations

from dataclasses import dataclass, field

from privacy.identity.certificates import node_id_of, node_party
from privacy.secure_sum.draw import SumName, groups_of
from privacy.secure_sum.exchange import Draw


@dataclass(frozen=True, slots=True)
class Drawing:
    """One draw, as the leader knows it.

    Attributes:
        secret: the leader's random number.
        nodes: all that take part.
        group_size: nodes of a group, or a few more.
        min_cohort: smaller groups are merged.
        draw: the helper's part; None until it has answered.
    """

    secret: bytes = field(repr=False)
    nodes: tuple[int, ...]
    group_size: int
    min_cohort: int
    draw: Draw | None = None

    def groups(self, at: SumName) -> dict[int, int]:
        """The group of each node.

        Raises:
            ValueError: the helper has not answered yet.
        """
        if self.draw is None:
            raise ValueError("the helper has not drawn its part yet")
        parties = [node_party(node) for node in self.nodes]
        found = groups_of(at, self.secret, self.draw.nonce, parties, self.group_size, self.min_cohort)
        return {node_id_of(party): number for party, number in found.items()}
