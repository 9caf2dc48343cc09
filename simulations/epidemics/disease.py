"""How an illness passes from one person to another, and how long it lasts (SEIR)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Disease:
    """Susceptible, exposed (infected, not yet infectious), infectious, recovered.

    Attributes:
        beta: rate of infection while a susceptible and an infectious person are in contact, per second.
        latent_days: mean time from infection until infectious.
        infectious_days: mean time from then until recovered.
        stages: both times are sums of so many equal exponential ones (Erlang); 1 is the exponential of Stehlé et al.

    Raises:
        ValueError: a rate or time below 0, no time to be infectious, or no stage.
    """

    beta: float
    latent_days: float
    infectious_days: float
    stages: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.beta < np.inf and 0 <= self.latent_days < np.inf):
            raise ValueError(f"beta {self.beta} /s and latent_days {self.latent_days} are finite and not below 0")
        if not 0 < self.infectious_days < np.inf:
            raise ValueError(f"infectious_days is {self.infectious_days}: it is above 0 and finite")
        if self.stages < 1:
            raise ValueError(f"stages is {self.stages}: it is at least 1")

    def chance(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Probability of infection in a contact of so many seconds: 1 - exp(-beta seconds)."""
        found: NDArray[np.float64] = -np.expm1(-self.beta * np.asarray(seconds, np.float64))
        return found


FAST = Disease(beta=3e-4, latent_days=1.0, infectious_days=2.0)
"""Very short latency, as cited for Stehlé et al. 2011; the paper's text was not at hand to check the numbers."""

SLOW = Disease(beta=1.5e-4, latent_days=2.0, infectious_days=4.0)
"""Short latency with the same beta times infectious time; cited and unchecked as `FAST`."""
