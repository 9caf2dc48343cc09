"""What a node heard within a stretch of one day, as columns, with tags of the site told from strangers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.store.sighting import Sighting
from edge.store.slots import WINDOW_S
from edge.tracing.calibration import Calibration
from edge.tracing.register import Known
from edge.tracing.rooms import RECEIVERS

PERIOD_S = 600
"""An identifier lasts this long, seconds (GAEN v1.2: EKRollingPeriod's step of ten minutes)."""

WINDOWS_A_PERIOD = PERIOD_S // WINDOW_S


@dataclass(frozen=True, slots=True)
class Heard:
    """Sightings as columns of equal length, in the order of their windows.

    Attributes:
        labels: tags of this site, which the subjects 0, 1, ... are.
        windows: index of the window, `seconds // WINDOW_S`.
        receivers: number of the receiver.
        subjects: index into `labels`; from there on each identifier of a stranger is a subject of its own, for ten
            minutes.
        rssi_dbm: mean over the window, dBm, corrected by receiver and tag.
        tx_power_dbm: with which it was sent, dBm.
    """

    labels: tuple[str, ...]
    windows: NDArray[np.int64]
    receivers: NDArray[np.uint8]
    subjects: NDArray[np.int64]
    rssi_dbm: NDArray[np.float64]
    tx_power_dbm: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, one.name)) for one in fields(self) if one.name != "labels"}
        if len(lengths) != 1:
            raise ValueError(f"columns of lengths {sorted(lengths)} do not belong together")
        if len(self.windows) and (np.diff(self.windows) < 0).any():
            raise ValueError("sightings come in the order of their windows")

    @classmethod
    def of(
        cls,
        sightings: Iterable[Sighting],
        known: Known,
        *,
        tx_power_dbm: float,
        calibration: Calibration | None = None,
    ) -> Heard:
        """From stored sightings, in the order of their windows.

        Args:
            known: the tags of this site at that time.
            tx_power_dbm: where a tag does not say its own.
            calibration: of receivers and tags; none where nothing was calibrated.
        """
        known_db = calibration or Calibration()
        corrections = [known_db.correction_db(number) for number in range(RECEIVERS)]
        tags_db = [known_db.tags_db.get(label, 0.0) for label in known.labels]
        tokens: dict[bytes, int] = {}
        subjects, powers, added = array("q"), array("d"), array("d")
        windows, receivers, places, levels = array("q"), array("B"), array("q"), array("d")
        for one in sightings:
            place = tokens.get(one.identifier)
            if place is None:
                place = tokens[one.identifier] = len(tokens)
                owner = known.owner_of.get(one.identifier)
                subjects.append(len(known.labels) + place if owner is None else owner[0])
                added.append(0.0 if owner is None else tags_db[owner[0]])
                power = known.tx_power_dbm(one.identifier, one.metadata)
                powers.append(tx_power_dbm if power is None else power)
            windows.append(one.window)
            receivers.append(one.receiver)
            places.append(place)
            levels.append(one.rssi_sum / one.frames + corrections[one.receiver] + added[place])
        token = np.frombuffer(places, np.int64)
        return cls(
            known.labels,
            np.frombuffer(windows, np.int64),
            np.frombuffer(receivers, np.uint8),
            np.frombuffer(subjects, np.int64)[token],
            np.frombuffer(levels, np.float64),
            np.frombuffer(powers, np.float64)[token],
        )

    @property
    def attenuation_db(self) -> NDArray[np.float64]:
        """What was lost on the way, dB [n]."""
        found: NDArray[np.float64] = self.tx_power_dbm - self.rssi_dbm
        return found

    def loudness(self) -> NDArray[np.float32]:
        """Above 0 whatever was heard, and more the louder [n]."""
        return np.asarray(np.maximum(self.rssi_dbm + 128, 1), np.float32)

    def token_windows(self) -> NDArray[np.int64]:
        """A number for each subject and window [n]."""
        if not len(self.windows):
            return np.zeros(0, np.int64)
        found: NDArray[np.int64] = (self.windows - self.windows[0]) * (int(self.subjects.max()) + 1) + self.subjects
        return found

    def only(self, kept: NDArray[np.bool_]) -> Heard:
        """The rows that are marked [n]."""
        if kept.all():
            return self
        return replace(
            self, **{one.name: getattr(self, one.name)[kept] for one in fields(self) if one.name != "labels"}
        )

    def periods(self) -> Iterator[Heard]:
        """Ten minutes at a time; views, no copies."""
        numbers = self.windows // WINDOWS_A_PERIOD
        edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)) if len(numbers) else numbers
        for begin, end in pairwise(edges.tolist()):
            part = slice(begin, end)
            yield replace(
                self, **{one.name: getattr(self, one.name)[part] for one in fields(self) if one.name != "labels"}
            )
