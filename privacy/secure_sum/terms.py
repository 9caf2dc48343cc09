"""What a task and its reply say of a secure sum, as the fields of a Flower `ConfigRecord`.

The centre puts the terms into each task under `TERMS`; the node's mod takes them out, so an app that knows nothing of
sums sees its task as ever. What comes back has, in the place of the app's own records, one array record (`SHARE`) and
one config record (`TERMS`): the names of the metrics, and the sealed seed that the leader hands on to the helper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privacy.secure_sum.exchange import Part
from privacy.secure_sum.vector import Plan

TERMS = "jaga.sum.terms"
SHARE = "jaga.sum.share"
ELEMENTS, SCALARS = "elements", "scalars"
"""Arrays of a share: ring elements of the update, and of its weight and metrics."""
METRICS, SEED = "metrics", "seed"
GROUP = "group"
"""The one of the terms that differs between nodes of a round."""


class BadTerms(ValueError):
    """A task's terms are not what an honest leader sends; the message says which field."""


@dataclass(frozen=True, slots=True)
class SumTerms:
    """How one node's contribution is coded and to whom its seed is sealed; public.

    Attributes:
        helper: party of the helper.
        round_number: from 1.
        group: from 0; the nodes of one group are summed together.
        weighted_by: the metric that is the contribution's weight.
    """

    plan: Plan
    helper: str
    round_number: int
    part: Part
    group: int
    weighted_by: str

    def fields(self) -> dict[str, float | int | str]:
        """As a config record's fields."""
        plan = self.plan
        return {
            "bound": plan.bound,
            "most": plan.most,
            "bits": plan.bits,
            "weight-bound": plan.weight_bound,
            "metric-bound": plan.metric_bound,
            "helper": self.helper,
            "round": self.round_number,
            "part": self.part.value,
            GROUP: self.group,
            "weighted-by": self.weighted_by,
        }

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> SumTerms:
        """Read what `fields` gave.

        Raises:
            BadTerms: a field is missing, of another type, or out of its range.
        """
        try:
            plan = Plan(
                bound=float(fields["bound"]),
                most=int(fields["most"]),
                bits=int(fields["bits"]),
                weight_bound=float(fields["weight-bound"]),
                metric_bound=float(fields["metric-bound"]),
            )
            _ = plan.code, plan.weight_code, plan.metric_code  # which check the numbers
            round_number, group = int(fields["round"]), int(fields[GROUP])
            if round_number < 1 or group < 0:
                raise BadTerms(f"round {round_number} and group {group} are not numbers from 1 and from 0")
            return cls(
                plan, str(fields["helper"]), round_number, Part(fields["part"]), group, str(fields["weighted-by"])
            )
        except (KeyError, TypeError, ValueError) as why:
            raise BadTerms(f"the terms of the sum cannot be read: {why!r}") from why
