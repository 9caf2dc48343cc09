"""What a release costs, as the numbers an accountant needs and no others.

An event says how much noise a mechanism added and how it sampled, in terms of one PRIVACY UNIT, which it names: a
`slot` (of the task `crowding`: half an hour of one node's log), a `session` (of `proximity`: a walk with a tape
measure), a `day` (everything of one calendar day at one node), or the whole `site`. It says how far a sum moves if a
unit is added or removed; if what the unit holds is replaced, it moves by up to twice that, and the accountant counts
so. It holds no data and depends on none, so it may be written down, stored for ever and shown to anybody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

SCHEMA_VERSION = 3
READABLE = (1, 2, 3)
"""In version 1 events named no unit, before version 3 they did not say what a day moves."""
MOST_EXAMPLES_PER_UNIT = 64
MOST_STEPS = 10**9
MOST_CONTRIBUTORS, MOST_DIMENSION = 10**6, 10**9
"""No event has more. Accountants multiply by them, so what they cost does not grow; it cannot overflow either."""
ANY = ""
"""The unit of an event that names none: it counts against every unit."""
SITE = "site"
"""Everything of one node. Whoever cannot tell whether a site took part cannot tell a part of it: it counts for all."""
SLOT = "slot"
"""Half an hour of one node's log, so always about persons."""
DAY = "day"
"""Everything of one calendar day at one node, so all that one person leaves there in a day. It covers every smaller
unit. What is charged to smaller units counts for it `day_units` times."""
MOST_SLOTS_OF_A_DAY = 48.0
"""What `day_units` is taken for in events that do not say it: a day is at most so many slots."""
FINE_STD = 4.0
"""Noise of so many steps or more adds up to what is a Gaussian but for a trace, see `SharedGaussian.shift`."""


class UnreadableEvents(ValueError):
    """Stored events are damaged, or were written by a newer version of this software."""


class SampledGaussian(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="mechanism"):
    """Gaussian noise on a sum over a Poisson sample, `steps` times: a run of DP-SGD, or one noised count.

    Attributes:
        noise_multiplier: standard deviation of the noise over the most that one unit moves the sum. With per-example
            clipping to C that is `std / (examples_per_unit * C)`. 0 means no noise, hence epsilon infinity.
        sampling_rate: probability in (0, 1] that a step draws on one given example; 1 for a sum over everything.
        steps: how many times the mechanism ran, in 1..`MOST_STEPS`.
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
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps {self.steps} is not in 1..{MOST_STEPS}; leave an event that did not happen out")
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
        if not (1 <= self.contributors <= MOST_CONTRIBUTORS and 1 <= self.dimension <= MOST_DIMENSION):
            raise ValueError(
                f"contributors {self.contributors} and dimension {self.dimension} must be in 1..{MOST_CONTRIBUTORS} "
                f"and 1..{MOST_DIMENSION}"
            )
        _check_day_units(self.day_units)

    def shift(self, apart: float = 1.0) -> float | None:
        """Shift in standard deviations of a Gaussian that tells as much as the sum; None if sigma is too coarse.

        *Proof.* Let f_s be the density of N(0, s^2) and Z_r(y) the sum of f_r(k - y) over whole k. Poisson's summation
        formula gives |Z_r(y) - 1| <= eta = 2 q / (1 - q), q = exp(-2 pi^2 r^2), for every y; at r >= 2 eta is below
        1.1e-34. Adding one more discrete Gaussian to a sum of m makes f_c(k) times a Z whose r is sigma sqrt(m /
        (m + 1)) >= sigma / sqrt(2), so with sigma >= 4 the sum of all n has probabilities f(k), of standard deviation
        sigma sqrt(n), times a factor that is within (1 +- eta)^(2 n) of 1. Now take a continuous Gaussian of variance
        n sigma^2 - 4 and round it to whole k with probabilities f_2(k - y) / Z_2(y): that gives f(k) again, times a
        factor within 1 +- eta of 1. So what is seen differs from a function of the continuous Gaussian by a factor of
        at most exp(5 n d eta) over all d elements, below 1 + 1e-18, in every outcome and whatever was released before:
        that is pure DP of 1e-18, which the margins of `privacy.accounting.gaussian` cover for a million events.

        Args:
            apart: how far apart neighbours are, in sensitivities.
        """
        if self.noise_std < FINE_STD:
            return None
        return apart * self.sensitivity / math.sqrt(self.contributors * self.noise_std * self.noise_std - 4)

    def concentrated(self, apart: float = 1.0) -> float:
        """Zero-concentrated DP: half the square of epsilon of Kairouz, Liu and Steinke 2021, theorem 1 (without its
        rounding, which the sensitivity here already counts)."""
        n, sigma, d = self.contributors, self.noise_std, self.dimension
        # The terms shrink with k / (k + 1); n - 1 times the first is a bound.
        tau = 10 * (n - 1) * math.exp(-2 * math.pi**2 * sigma**2 / 2)
        plain = apart * self.sensitivity / (math.sqrt(n) * sigma)
        epsilon = min(math.sqrt(plain**2 + tau * d / 2), plain + tau * math.sqrt(d))
        return epsilon**2 / 2

    @property
    def rho(self) -> float:
        """`concentrated` of a unit that is added or removed."""
        return self.concentrated()


Event = SampledGaussian | SharedGaussian


def _check_day_units(day_units: float) -> None:
    if not 0 <= day_units < math.inf:
        raise ValueError(f"day_units {day_units} is not a finite number from 0 up")


def counts_for(event: Event, unit: str) -> bool:
    """Whether an event belongs to a unit's budget.

    For the whole site count its own events alone; for a day also everything that says something of persons; for any
    other unit its own, those of a day or of the site, which cover it, and those that name none.
    """
    if unit == SITE:
        return event.unit == SITE
    if unit == DAY:
        return day_units(event) > 0
    return event.unit in (unit, ANY, DAY, SITE)


def day_units(event: Event) -> float:
    """The most that a day at this node moves the sum, over the most that a unit does; 0 if it is not about persons.

    Never too little if an event does not say it: one of a day or a site is taken for 1, one of a slot or of no unit for
    a whole day of slots.
    """
    if event.unit in (DAY, SITE):
        return max(event.day_units, 1.0)
    return event.day_units or (MOST_SLOTS_OF_A_DAY if event.unit in (SLOT, ANY) else 0.0)


def of_units(event: Event, units: float) -> Event:
    """The same release as it is for a group of so many units: its neighbours' sums are so many times further apart.

    For Gaussians this is exact. Sampling hides no group: it is charged as though everything was taken.
    """
    if units == 1:
        return event
    if isinstance(event, SharedGaussian):
        return msgspec.structs.replace(event, sensitivity=event.sensitivity * units)
    return msgspec.structs.replace(
        event, noise_multiplier=event.noise_multiplier / units, sampling_rate=1.0, examples_per_unit=1
    )


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
        events = msgspec.json.decode(stored, type=_Stored).events
        return events if version >= 3 else tuple(map(_with_day_units, events))
    except msgspec.MsgspecError as error:
        raise UnreadableEvents(f"stored events {stored[:80]!r} cannot be read: {error}") from error


def _with_day_units(event: Event) -> Event:
    """An event from before version 3: what a day moved is not known, so it is taken for the most there can be."""
    if event.unit in (SITE, "session"):
        return event
    return msgspec.structs.replace(event, day_units=MOST_SLOTS_OF_A_DAY)
