"""What a task and its reply say of a secure sum, as the fields of a Flower `ConfigRecord`.

The centre puts the terms into each task under `TERMS`; the node's mod takes them out, so an app that knows nothing of
sums sees its task as ever. What comes back has, in the place of the app's own records, one array record (`SHARE`) and
one config record (`TERMS`): the names of the metrics, and the sealed seed that the leader hands on to the helper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from privacy.identity.certificates import HELPER_PARTY
from privacy.secure_sum.exchange import MOST_NODES, Draw, Part
from privacy.secure_sum.vector import Plan

TERMS = "jaga.sum.terms"
SHARE = "jaga.sum.share"
ELEMENTS, SCALARS = "elements", "scalars"
"""Arrays of a share: ring elements of the update, and of its weight and metrics."""
METRICS, SEED = "metrics", "seed"
COHORT, SIGMA = "cohort", "sigma"
"""Beside the seed: the node's own terms, as the noise that it really added has them."""
GROUP = "group"
"""The one of the terms that differs between nodes of a round."""


WEIGHTED_BY = "num-examples"
"""The one metric that may be a weight. Any other is a measurement: a weight that a leader could choose among them would
turn a noised number into a refusal (below zero), or multiply the update with it."""
BOUND_RANGE = 1e-6, 1e6
WEIGHT_RANGE = 1e-3, 1e9
METRIC_RANGE = 1e-3, 1e12
"""What a leader may choose. Far beyond what learning needs, and far from where float64 overflows or loses its last
bits: whether a reply can be coded does not depend on how large its values are."""
MOST_ROUNDS = 2**31 - 1


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
        draw: the helper's part of the draw of the groups; says its least cohort, and when the sum is over.
    """

    plan: Plan
    helper: str
    round_number: int
    part: Part
    group: int
    weighted_by: str
    draw: Draw

    def fields(self) -> dict[str, float | int | str | bytes]:
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
            "draw": msgspec.msgpack.encode(self.draw),
        }

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> SumTerms:
        """Read what `fields` gave. Nothing of it depends on a record of the node.

        Raises:
            BadTerms: a field is missing, unknown, of another type, or out of its range.
        """
        try:
            plan = Plan(
                bound=_number(fields, "bound", *BOUND_RANGE),
                most=_whole(fields, "most", 2, MOST_NODES),
                bits=_whole(fields, "bits", 16, 64),
                weight_bound=_number(fields, "weight-bound", *WEIGHT_RANGE),
                metric_bound=_number(fields, "metric-bound", *METRIC_RANGE),
            )
            _ = plan.code, plan.weight_code, plan.metric_code  # which check the numbers
            found = cls(
                plan,
                _one_of(fields, "helper", HELPER_PARTY),
                _whole(fields, "round", 1, MOST_ROUNDS),
                Part(fields["part"]),
                _whole(fields, GROUP, 0, MOST_NODES),
                _one_of(fields, "weighted-by", WEIGHTED_BY),
                msgspec.msgpack.decode(msgspec.convert(fields["draw"], bytes), type=Draw),
            )
        except BadTerms:
            raise
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as why:
            raise BadTerms(f"the terms of the sum cannot be read: {why!r}") from why
        if unknown := sorted(set(fields) - set(found.fields())):
            raise BadTerms(f"the terms of the sum have unknown fields {unknown}")
        return found


def _number(fields: Mapping[str, Any], name: str, least: float, most: float) -> float:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadTerms(f"{name} is a {type(value).__name__}, not a number")
    if not (math.isfinite(value) and least <= value <= most):
        raise BadTerms(f"{name} is {value}, and may be {least:g} to {most:g}")
    return float(value)


def _whole(fields: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadTerms(f"{name} is a {type(value).__name__}, not a whole number")
    if not least <= value <= most:
        raise BadTerms(f"{name} is {value}, and may be {least} to {most}")
    return value


def _one_of(fields: Mapping[str, Any], name: str, expected: str) -> str:
    value = fields[name]
    if value != expected or not isinstance(value, str):
        raise BadTerms(f"{name} is {value!r}, and may be {expected!r} alone")
    return value
