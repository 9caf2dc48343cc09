"""A piece of work that a node agrees to do: checked, priced, and answered whatever the records are.

A `Work` is made from a task and the rules of the node alone. Its `outcome` is a function of the examples that is
defined for every list of examples; for none it gives what is sent if reading or training fails: noise alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from edge.learning.answer_time import Cost
from edge.learning.masking import Noise
from edge.learning.tasks.task import Examples, Task
from privacy.accounting.events import Event
from privacy.accounting.ledger import PrivacyLedger
from privacy.catalogue.use import Use


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a node sends.

    Attributes:
        arrays: the model's arrays after training, by name; none of an evaluation.
        metrics: numbers beside them, each noised or the same for every node.
        noise: what makes the arrays private on their way into a secure sum; None if they are private already.
    """

    metrics: Mapping[str, float]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    noise: Noise | None = None

    def content(self, epsilon: float) -> RecordDict:
        """Return the content of a Flower reply.

        Args:
            epsilon: the ledger's total after the work was paid for.
        """
        content = RecordDict()
        if self.arrays:
            arrays = {name: Array(np.asarray(values)) for name, values in self.arrays.items()}
            content["arrays"] = ArrayRecord(arrays)
        content["metrics"] = MetricRecord({"num-examples": 1.0, **self.metrics, "epsilon": epsilon})
        return content


@dataclass(frozen=True, slots=True)
class Work:
    """What a node agreed to do.

    Attributes:
        use: which columns are read, and by which mechanisms something derived from them leaves.
        events: what it costs, for the ledger.
        cost: how long it may take.
        outcome: what is sent, from the node's examples.
    """

    task: Task
    use: Use
    events: Sequence[Event]
    cost: Cost
    outcome: Callable[[Examples], Outcome]

    def no_examples(self) -> Examples:
        """Return examples of a node that has none."""
        return self.task.examples([])


def pay(ledger: PrivacyLedger, message_id: bytes, work: Work, *, again: bool = False) -> int:
    """Reserve and spend what the work costs; return the entry's number.

    It is spent before a record is read, so that nothing that happens afterwards shows in the ledger.

    Args:
        again: an earlier attempt was interrupted, and this one reads no records: what was reserved then is taken.

    Raises:
        BudgetSpent: it does not fit; nothing was written.
    """
    purpose, events = work.use.encode(), tuple(work.events)
    for entry in ledger.entries_of(message_id) if again else ():
        if (entry.purpose, entry.events) == (purpose, events):
            if entry.spent_at is None:
                ledger.spend(entry.number)
            return entry.number
    number = ledger.reserve(message_id, purpose, events)
    ledger.spend(number)
    return number
