"""How long a node takes to answer: one of a few fixed times, chosen from public numbers alone.

The seconds that training takes depend on how many examples a node has. So an answer leaves at a time that follows from
the task, the model and the speed of the machine, whether training took long, took no time or failed. Work that is not
done by then is given up, and the answer holds noise alone.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 3600.0)
"""Seconds from the charge in the ledger to the answer."""
READING_S = 4.5
"""To open the store and read one record lifetime of a busy site, on the reference machine."""
PASS_S = 5e-3
"""One pass through a small model, forward and backward."""
ELEMENT_S = 4e-9
"""One parameter and one example in a pass."""
NOISE_S = 4e-6
"""Noise on one parameter, and its mask."""


class TooLong(ValueError):
    """The work would take longer than the longest time class; the message says how long."""


@dataclass(frozen=True, slots=True)
class Cost:
    """How much work a task is at most; made of public numbers.

    Attributes:
        passes: passes forward and backward.
        pass_examples: the most examples of one pass.
        parameters: of the model.
        noised: how many vectors of the model's size get noise.
    """

    passes: int
    pass_examples: int
    parameters: int
    noised: int

    @property
    def reference_s(self) -> float:
        """Seconds on a Raspberry Pi Zero 2 W: an estimate, fifteen times what was measured on one x86-64 core."""
        elements = self.passes * self.pass_examples * self.parameters
        return READING_S + self.passes * PASS_S + elements * ELEMENT_S + self.noised * self.parameters * NOISE_S


def answer_after_s(cost: Cost, speed: float) -> float:
    """Return the time class, in seconds.

    Args:
        speed: of this machine over the reference machine, as its owner says in `[learning] speed`.

    Raises:
        TooLong: no class is long enough.
    """
    return class_of(cost.reference_s / speed)


def class_of(seconds: float) -> float:
    """Return the shortest time class of at least so many seconds.

    Raises:
        TooLong: no class is long enough.
    """
    for class_s in CLASSES_S:
        if seconds <= class_s:
            return class_s
    raise TooLong(
        f"the work may take {seconds:.0f} s, and the longest time class is {CLASSES_S[-1]:.0f} s: ask for fewer steps"
    )
