"""What a release costs, as the numbers an accountant needs and no others.

An event says how much noise a mechanism added and how it sampled, in terms of one PRIVACY UNIT, which it names: a
`slot` (of the task `crowding`: half an hour of one node's log, added or removed), a `session` (of `proximity`: a walk
with a tape measure), or the whole `site`. It holds no data and depends on none, so it may be written down, stored for
ever and shown to anybody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

SCHEMA_VERSION = 3
READABLE = (1, 2, 3)
"""In version 1 events named no unit, before version 3 they did not say what a day moves."""
MOST_EXAMPLES_PER_UNIT = 64
ANY = ""
"""The unit of an event that names none: it counts against every unit."""
SITE = "site"
"""Everything of one node. Whoever cannot tell whether a site took part cannot tell a part of it: it counts for all."""


class UnreadableEvents(ValueError):
    """Stored events are damaged, or were written by a newer version of this software."""


class SampledGaussian(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="mechanism"):
    """Gaussian noise on a sum over a Poisson sample, `steps` times: a run of DP-SGD, or one noised count.

    Attributes:
        noise_multiplier: standard deviation of the noise over the most that one unit moves the sum. With per-example
            clipping to C that is `std / (examples_per_unit * C)`. 0 means no noise, hence epsilon infinity.
        sampling_rate: probability in (0, 1] that a step draws on one given example; 1 for a sum over everything.
        steps: how many times the mechanism ran, at least 1.
        examples_per_unit: the most examples that draw on one unit; each is sampled on its own.
        unit: name of the privacy unit.
        day_units: the most that everything of one day at this node moves the sum, over the most that one unit does; 0
            if the unit says nothing about persons who come and go (a calibration walk).
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    examples_per_unit: int = 1
    unit: str = ANY
    day_units: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise ValueError(f"noise_multiplier {self.noise_multiplier} is not a finite number from 0 up")
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(f"sampling_rate {self.sampling_rate} is not in (0, 1]; a step that never runs is no event")
        if self.steps < 1:
            raise ValueError(f"steps {self.steps} is below 1; leave an event that did not happen out")
        if not 1 <= self.examples_per_unit <= MOST_EXAMPLES_PER_UNIT:
            raise ValueError(f"examples_per_unit {self.examples_per_unit} is not in 1..{MOST_EXAMPLES_PER_UNIT}")
        _check_day_units(self.day_units)


class SharedGaussian(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="mechanism"):
    """Discrete Gaussian noise that several nodes add to one sum, each its own (`privacy.mechanisms.shared_noise`).

    Assumed: in the sum that is seen, at least `contributors` nodes added theirs and do not tell it.

    Attributes:
        sensitivity: most that one unit moves the sum, Euclidean norm in steps of the sum's code.
        noise_std: of each node's noise, in the same steps.
        contributors: nodes whose noise is counted on.
        dimension: elements of the sum.
        unit: name of the privacy unit.
        day_units: as in `SampledGaussian`.
    """

    sensitivity: float
    noise_std: float
    contributors: int
    dimension: int
    unit: str = SITE
    day_units: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.sensitivity < math.inf and 0 < self.noise_std < math.inf):
            raise ValueError(
                f"sensitivity {self.sensitivity} and noise_std {self.noise_std} must be finite and above 0"
            )
        if self.contributors < 1 or self.dimension < 1:
            raise ValueError(f"contributors {self.contributors} and dimension {self.dimension} must be at least 1")
        _check_day_units(self.day_units)

    @property
    def rho(self) -> float:
        """Zero-concentrated DP: half the square of epsilon of Kairouz, Liu and Steinke 2021, theorem 1 (without its
        rounding, which the sensitivity here already counts)."""
        n, sigma, d = self.contributors, self.noise_std, self.dimension
        # The terms shrink with k / (k + 1); n - 1 times the first is a bound.
        tau = 10 * (n - 1) * math.exp(-2 * math.pi**2 * sigma**2 / 2)
        plain = self.sensitivity / (math.sqrt(n) * sigma)
        epsilon = min(math.sqrt(plain**2 + tau * d / 2), plain + tau * math.sqrt(d))
        return epsilon**2 / 2


Event = SampledGaussian | SharedGaussian


def _check_day_units(day_units: float) -> None:
    if not 0 <= day_units < math.inf:
        raise ValueError(f"day_units {day_units} is not a finite number from 0 up")


def counts_for(event: Event, unit: str) -> bool:
    """Whether an event belongs to a unit's budget: its own, one that is of the whole site, and, but for the site's
    own, one that names none."""
    return event.unit in ((SITE,) if unit == SITE else (unit, ANY, SITE))


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    events: tuple[Event, ...]


class _Version(msgspec.Struct, frozen=True):
    version: int


def encode_events(events: Sequence[Event]) -> bytes:
    """Canonical JSON: the same events always give the same bytes, so a hash over them means something."""
    return msgspec.json.encode(_Stored(SCHEMA_VERSION, tuple(events)))


def decode_events(stored: bytes) -> tuple[Event, ...]:
    """Read what `encode_events` wrote.

    Raises:
        UnreadableEvents: a version this software does not know, or bytes that are no valid events.
    """
    try:
        version = msgspec.json.decode(stored, type=_Version).version
        if version not in READABLE:
            raise UnreadableEvents(
                f"events have schema version {version}, this software reads {READABLE}: install a newer version"
            )
        return msgspec.json.decode(stored, type=_Stored).events
    except msgspec.MsgspecError as error:
        raise UnreadableEvents(f"stored events {stored[:80]!r} cannot be read: {error}") from error
