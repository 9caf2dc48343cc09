"""What a release costs, as the numbers an accountant needs and no others.

An event says how much noise a mechanism added and how it sampled, in terms of ONE PRIVACY UNIT (for the task
`crowding`: one half-hour slot of one node's log, added or removed). It holds no data and depends on none, so it may be
written down, stored for ever and shown to anybody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

SCHEMA_VERSION = 1
MOST_EXAMPLES_PER_UNIT = 64


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
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    examples_per_unit: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise ValueError(f"noise_multiplier {self.noise_multiplier} is not a finite number from 0 up")
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(f"sampling_rate {self.sampling_rate} is not in (0, 1]; a step that never runs is no event")
        if self.steps < 1:
            raise ValueError(f"steps {self.steps} is below 1; leave an event that did not happen out")
        if not 1 <= self.examples_per_unit <= MOST_EXAMPLES_PER_UNIT:
            raise ValueError(f"examples_per_unit {self.examples_per_unit} is not in 1..{MOST_EXAMPLES_PER_UNIT}")


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    events: tuple[SampledGaussian, ...]


class _Version(msgspec.Struct, frozen=True):
    version: int


def encode_events(events: Sequence[SampledGaussian]) -> bytes:
    """Canonical JSON: the same events always give the same bytes, so a hash over them means something."""
    return msgspec.json.encode(_Stored(SCHEMA_VERSION, tuple(events)))


def decode_events(stored: bytes) -> tuple[SampledGaussian, ...]:
    """Read what `encode_events` wrote.

    Raises:
        UnreadableEvents: a version this software does not know, or bytes that are no valid events.
    """
    try:
        version = msgspec.json.decode(stored, type=_Version).version
        if version != SCHEMA_VERSION:
            raise UnreadableEvents(
                f"events have schema version {version}, this software reads {SCHEMA_VERSION}: install a newer version"
            )
        return msgspec.json.decode(stored, type=_Stored).events
    except msgspec.MsgspecError as error:
        raise UnreadableEvents(f"stored events {stored[:80]!r} cannot be read: {error}") from error
