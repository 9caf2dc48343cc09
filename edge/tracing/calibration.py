"""What calibration walks say of this site's receivers and tags, as tracing uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.store.calibration import StoredCorrections
from edge.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Calibration:
    """Corrections, and how much a receiver hears at best; what was never calibrated is absent.

    Attributes:
        receivers_db: added to what a receiver measured, dB, by its number.
        tags_db: added for a tag of this site, dB, by its label.
        frames_per_window: frames of one tag that a receiver hears at best in a window, by its number.
    """

    receivers_db: Mapping[int, float] = field(default_factory=dict)
    tags_db: Mapping[str, float] = field(default_factory=dict)
    frames_per_window: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection, adapters: Sequence[str]) -> Calibration:
        """From the store.

        Args:
            adapters: of the node's own; their place is the receiver's number. Satellites calibrate at their own node.
        """
        stored = StoredCorrections(connection)
        receivers = {number: stored.of(adapter) for number, adapter in enumerate(adapters)}
        frames = {number: stored.frames_per_window(adapter) for number, adapter in enumerate(adapters)}
        return cls(
            {number: db for number, db in receivers.items() if db is not None},
            stored.transmitters(),
            {number: most for number, most in frames.items() if most is not None},
        )

    def correction_db(self, receiver: int, label: str = "") -> float:
        """Of receiver and tag together, dB; 0 where nothing is known."""
        return self.receivers_db.get(receiver, 0.0) + self.tags_db.get(label, 0.0)
