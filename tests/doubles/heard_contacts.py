"""Sightings of tags as a node stores them, for tests of tracing: who was heard when, how loudly, at which receiver."""

from collections.abc import Iterable, Iterator

from edge.store.sighting import Sighting
from edge.store.slots import WINDOW_S
from privacy.tokens.gaen import INTERVAL_S, Metadata, TemporaryExposureKey, encrypt_metadata, identifier

TX_DBM = -20
FRAMES = 12


def heard(
    key: TemporaryExposureKey,
    windows: Iterable[int],
    attenuation_db: int = 50,
    *,
    receiver: int = 0,
    late_s: int = 0,
    metadata: bool = True,
) -> Iterator[Sighting]:
    """One tag, once a window of 20 s.

    Args:
        windows: index of each window, `seconds // WINDOW_S`.
        late_s: so long after its time each identifier is heard, as who records and replays it would.
    """
    for window in windows:
        shown = identifier(key, (window * WINDOW_S - late_s) // INTERVAL_S)
        rssi = TX_DBM - attenuation_db
        said = encrypt_metadata(key, shown, Metadata(TX_DBM)) if metadata else b""
        yield Sighting(shown, window, FRAMES, FRAMES * rssi, FRAMES * rssi * rssi, rssi, rssi, said, receiver)


def minutes(day: int, from_minute: int, count: int) -> range:
    """The windows of some minutes of a day."""
    start = (day * 1440 + from_minute) * 60 // WINDOW_S
    return range(start, start + count * 60 // WINDOW_S)
