"""What a coordinator tells whoever watches: the terminal, the demo, a test."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """In the order in which a round goes through them. Each is told after what it names is done, and on disk where it
    has to be."""

    RUN_STARTED = "run started"
    WAITING = "waiting"
    TRAINING_PLANNED = "training planned"
    TRAINING_SENT = "training sent"
    TRAINING_REPLY = "training reply"
    GROUP_SUMMED = "group summed"
    GROUP_LOST = "group lost"
    TRAINING_AGGREGATED = "training aggregated"
    TRAINED = "trained"
    EVALUATION_PLANNED = "evaluation planned"
    EVALUATION_SENT = "evaluation sent"
    EVALUATION_REPLY = "evaluation reply"
    EVALUATION_AGGREGATED = "evaluation aggregated"
    ROUND_FINISHED = "round finished"
    RUN_FINISHED = "run finished"


@dataclass(frozen=True, slots=True)
class RoundEvent:
    """Something that happened in a run.

    Attributes:
        round: 0 for what concerns the whole run.
        details: JSON values, by kind:
            RUN_STARTED: rounds, resumed, begins_with_round.
            WAITING for nodes: needed, here, missing, seconds_left; for replies: unanswered, missing, seconds_left.
            TRAINING_PLANNED, TRAINING_SENT, EVALUATION_PLANNED, EVALUATION_SENT: nodes.
            TRAINING_REPLY, EVALUATION_REPLY: node, refusal.
            GROUP_SUMMED, GROUP_LOST (secure sums): part, nodes, refusal, because_of.
            TRAINING_AGGREGATED: metrics, learnt. EVALUATION_AGGREGATED: metrics. TRAINED: metrics, model.
            ROUND_FINISHED: train and evaluate (metrics), model, seconds, and nodes: by part (train, evaluate) a list of
            node, node_id (decimal, as text), state, seconds, bytes_down, bytes_up, refusal, epsilon.
            RUN_FINISHED: model.
        at: seconds since the epoch.
    """

    kind: EventKind
    run: str
    round: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    def as_json(self) -> str:
        """One line."""
        return json.dumps({**asdict(self), "kind": self.kind.value}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> RoundEvent:
        """The inverse."""
        fields = json.loads(line)
        return cls(**{**fields, "kind": EventKind(fields["kind"])})
