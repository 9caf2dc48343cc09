"""Published keys against stored sightings: found exactly where they should be, refused where they should not."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.store.sighting import SightingColumns
from edge.store.slots import DAY_S, WINDOW_S
from edge.tracing import matching as module
from edge.tracing.index import HeardIndex, prefixes_of
from edge.tracing.matching import NO_TX_POWER, Counts, Match, match
from edge.tracing.rooms import Receiver, Rooms
from privacy.tokens.gaen import Metadata, TemporaryExposureKey, encrypt_metadata, identifier, identifiers
from simulations.benchmarks.matching import (
    MatchingMeasurement,
    MatchingSettings,
    MatchingWorld,
    NotWhatWasPlanted,
    measure,
    outcome,
)

DAY = 20_000
A_DAY = DAY_S // WINDOW_S
NOON = DAY * 144 + 72
HOURS_2 = 7200 // WINDOW_S
TEN_MINUTES = 600 // WINDOW_S
ROOMS = Rooms.of(
    [Receiver(1, "class 1"), Receiver(2, "class 2"), Receiver(3, "class 2"), Receiver(4, "far")],
    [("hall", "class 1"), ("hall", "class 2")],
    home="hall",
)
Row = tuple[bytes, int, int, bytes]  # identifier, window, receiver, metadata


def key_of(seed: int, day: int = DAY, period: int = 144) -> TemporaryExposureKey:
    return TemporaryExposureKey(seed.to_bytes(16, "big"), day * 144, period)


def row(heard: bytes, window: int, receiver: int = 0, metadata: bytes = b"") -> Row:
    return heard, window, receiver, metadata


def stored(rows: Iterable[Row]) -> tuple[list[int], Callable[[int], SightingColumns]]:
    """Rows as the store gives them: by day, in the order of their windows."""
    days: dict[int, list[Row]] = defaultdict(list)
    for one in rows:
        days[one[1] // A_DAY].append(one)
    columns = {}
    for day, some in days.items():
        some.sort(key=lambda one: one[1])
        count = len(some)
        columns[day] = SightingColumns(
            b"".join(one[0] for one in some),
            b"".join(one[3] or bytes(4) for one in some),
            array("q", [one[1] for one in some]),
            array("B", [one[2] for one in some]),
            array("q", [3] * count),
            array("q", [-180] * count),
            array("q", [10_802] * count),
            array("b", [-61] * count),
            array("b", [-59] * count),
        )
    return sorted(days), columns.__getitem__


def found(keys, rows: Iterable[Row], rooms: Rooms | None = None) -> tuple[list[Match], Counts]:
    days = list(match(keys, *stored(rows), rooms))
    for one in days:
        assert len(one) == len(list(one)) == one.counts.matched
        assert {window // A_DAY for window in one.windows.tolist()} <= {one.day}
    return [each for one in days for each in one], sum((one.counts for one in days), Counts())


# --- what is found ----------------------------------------------------------------------------------------------------

KEY_POOL = [key_of(seed, DAY + seed % 3, 144 if seed % 2 else 17) for seed in range(8)]
SIGHTINGS = st.lists(
    st.tuples(
        st.integers(0, len(KEY_POOL) - 1),  # whose
        st.integers(0, 16),  # interval within the key
        st.integers(-400, 440),  # windows after the identifier's own first one: up to two hours and a bit
        st.integers(0, 4),
    ),
    max_size=30,
)


@settings(max_examples=200)
@given(st.sets(st.integers(0, len(KEY_POOL) - 1)), SIGHTINGS)
def test_a_sighting_matches_if_and_only_if_it_is_of_a_published_key_and_within_two_hours(published, sightings):
    order = sorted(published)
    keys = [KEY_POOL[at] for at in order]
    rows, expected, replayed = [], [], 0
    for whose, within, shift, receiver in sightings:
        key = KEY_POOL[whose]
        interval = key.rolling_start + within
        window = interval * TEN_MINUTES + shift
        rows.append(row(identifier(key, interval), window, receiver))
        if whose in published:
            if -HOURS_2 <= shift <= TEN_MINUTES + HOURS_2:
                expected.append((order.index(whose), interval, window, receiver))
            else:
                replayed += 1
    matches, counts = found(keys, rows)
    assert sorted((m.key, m.interval, m.window, m.receiver) for m in matches) == sorted(expected)
    assert counts == Counts(len(expected), replayed)


@pytest.mark.parametrize(
    ("shift", "believed"),
    [
        (-HOURS_2 - 1, False),
        (-HOURS_2, True),
        (0, True),
        (TEN_MINUTES + HOURS_2, True),
        (TEN_MINUTES + HOURS_2 + 1, False),
    ],
)
def test_at_two_hours_to_the_second_it_still_matches_and_a_window_further_it_does_not(shift, believed):
    key = key_of(1)
    matches, counts = found([key], [row(identifier(key, NOON), NOON * TEN_MINUTES + shift)])
    assert (len(matches), counts.replayed) == ((1, 0) if believed else (0, 1))


def test_a_key_matches_across_midnight_by_a_clock_that_is_off():
    key = key_of(1)
    rows = [
        row(identifier(key, key.rolling_start), DAY * A_DAY - 1),
        row(identifier(key, key.rolling_end - 1), (DAY + 1) * A_DAY + HOURS_2),
    ]
    matches, counts = found([key], rows)
    assert [m.window // A_DAY for m in matches] == [DAY - 1, DAY + 1]
    assert counts == Counts(matched=2)


@pytest.mark.parametrize("days_later", [-13, -1, 1, 13])
def test_a_replay_on_any_stored_day_is_refused_and_counted(days_later):
    key = key_of(1)
    matches, counts = found([key], [row(identifier(key, NOON), NOON * TEN_MINUTES + days_later * A_DAY)])
    assert (matches, counts) == ([], Counts(replayed=1))


def test_a_key_does_not_match_outside_of_its_rolling_period():
    short, whole = key_of(1, period=10), key_of(1)
    rows = [row(identifier(whole, DAY * 144 + at), (DAY * 144 + at) * TEN_MINUTES) for at in range(20)]
    matches, _ = found([short], rows)
    assert [m.interval - DAY * 144 for m in matches] == list(range(10))


def test_all_that_was_measured_comes_with_a_match():
    key = key_of(1)
    heard = identifier(key, NOON)
    metadata = encrypt_metadata(key, heard, Metadata(-23))
    matches, _ = found([key_of(0), key], [row(heard, NOON * TEN_MINUTES + 2, 3, metadata)])
    assert matches == [Match(1, NOON, NOON * TEN_MINUTES + 2, 3, 3, -180, 10_802, -61, -59, -23)]


# --- all 16 bytes -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 15), st.integers(1, 255))
def test_an_identifier_that_differs_in_any_one_byte_is_no_match(at, mask):
    key = key_of(1)
    like = bytearray(identifier(key, NOON))
    like[at] ^= mask
    assert found([key], [row(bytes(like), NOON * TEN_MINUTES)]) == ([], Counts())


def test_identifiers_that_share_their_first_eight_bytes_are_told_apart():
    key = key_of(1)
    heard = identifier(key, NOON)
    rows = [row(heard[:8] + bytes([other]) * 8, NOON * TEN_MINUTES + other) for other in range(20)]
    matches, counts = found([key], [*rows, row(heard, NOON * TEN_MINUTES + 20)])
    assert [m.window for m in matches] == [NOON * TEN_MINUTES + 20]
    assert counts == Counts(matched=1)


def test_keys_whose_identifiers_share_eight_bytes_are_told_apart(monkeypatch):
    """No two real keys that do are known, so the derivation is exchanged here, and only here."""
    ours = {key_of(seed): b"same 8 b" + bytes([seed]) * 8 for seed in (1, 2)}
    monkeypatch.setattr(module, "identifiers", lambda key: ours[key] + identifiers(key)[16:])
    first = DAY * A_DAY
    rows = [row(ours[key], first + at) for at, key in enumerate(ours)]
    matches, _ = found(list(ours), [*rows, row(b"same 8 b" + bytes(8), first + 5)])
    assert [(m.key, m.window - first) for m in matches] == [(0, 0), (1, 1)]


@given(st.binary(min_size=8, max_size=15))
def test_an_identifier_that_ends_in_zeros_is_told_from_others(beginning):
    """numpy takes trailing zeros of byte strings for padding."""
    heard = beginning.ljust(16, b"\x00")
    rows = [row(heard[:15] + bytes([last]), DAY * A_DAY + last) for last in (0, 1, 32, 255)]
    key = key_of(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "identifiers", lambda key: heard + identifiers(key)[16:])
        matches, _ = found([key], rows)
    assert [m.window for m in matches] == [DAY * A_DAY]


def test_of_a_key_that_is_published_twice_the_first_counts_and_no_minute_counts_twice():
    early, revised = key_of(1, period=100), key_of(1)
    rows = [row(identifier(revised, DAY * 144 + at), (DAY * 144 + at) * TEN_MINUTES) for at in (0, 99, 100, 143)]
    for keys, expected in (([early, revised], [0, 0, 1, 1]), ([revised, early], [0, 0, 0, 0])):
        matches, counts = found(keys, rows)
        assert [m.key for m in matches] == expected
        assert counts == Counts(matched=4)


def test_nothing_published_or_nothing_stored_matches_nothing():
    assert found([], [row(bytes(16), DAY * A_DAY)]) == ([], Counts())
    assert found([key_of(1)], []) == ([], Counts())
    assert list(match([key_of(1)], [DAY], lambda _: SightingColumns())) == []


def test_more_keys_than_are_derived_at_once_keep_their_numbers(monkeypatch):
    monkeypatch.setattr(module, "KEYS_AT_ONCE", 3)
    keys = [key_of(seed, period=1 + 13 * seed) for seed in range(11)]
    rows = [row(identifier(key, key.rolling_end - 1), (key.rolling_end - 1) * TEN_MINUTES) for key in keys]
    matches, _ = found(keys, rows)
    assert sorted((m.key, m.interval) for m in matches) == [(at, key.rolling_end - 1) for at, key in enumerate(keys)]


# --- relays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("receivers", "relay"),
    [
        ((0, 1), False),  # hall and class 1 are next to each other
        ((2, 3), False),  # one room
        ((1, 2), True),
        ((0, 1, 2), True),  # both next to the hall, and not to each other
        ((0, 4), True),
        ((0, 77), False),  # not listed: hangs in the hall
    ],
)
def test_one_identifier_in_rooms_that_no_radio_reaches_at_once_is_a_relay(receivers, relay):
    key = key_of(1)
    window = NOON * TEN_MINUTES
    matches, counts = found([key], [row(identifier(key, NOON), window, at) for at in receivers], ROOMS)
    expected = Counts(relayed=len(receivers)) if relay else Counts(matched=len(receivers))
    assert counts == expected
    assert len(matches) == expected.matched


def test_a_relay_is_refused_in_its_own_window_and_of_its_own_identifier_alone():
    key, other = key_of(1), key_of(2)
    window = NOON * TEN_MINUTES
    rows = [
        *(row(identifier(key, NOON), window, at) for at in (1, 2)),
        row(identifier(key, NOON), window + 1, 1),
        row(identifier(key, NOON), window - 1, 2),
        row(identifier(other, NOON), window, 1),
    ]
    matches, counts = found([key, other], rows, ROOMS)
    assert counts == Counts(matched=3, relayed=2)
    assert sorted((m.key, m.window - window, m.receiver) for m in matches) == [(0, -1, 2), (0, 1, 1), (1, 0, 1)]


def test_what_is_replayed_in_two_rooms_at_once_is_counted_once():
    key = key_of(1)
    rows = [row(identifier(key, NOON), NOON * TEN_MINUTES + 5 * A_DAY, at) for at in (1, 2)]
    assert found([key], rows, ROOMS) == ([], Counts(replayed=2))


def test_where_no_rooms_are_known_nothing_is_a_relay():
    key = key_of(1)
    rows = [row(identifier(key, NOON), NOON * TEN_MINUTES, at) for at in (1, 4)]
    assert found([key], rows)[1] == Counts(matched=2)


# --- metadata ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 143), st.integers(-127, 20), st.integers(0, 2))
def test_the_power_is_what_the_sender_said(within, power, whose):
    keys = [key_of(seed) for seed in range(3)]
    heard = identifier(keys[whose], DAY * 144 + within)
    metadata = encrypt_metadata(keys[whose], heard, Metadata(power))
    rows = [row(heard, (DAY * 144 + within) * TEN_MINUTES, 0, metadata)]
    matches, counts = found(keys, rows)
    assert [m.tx_power_dbm for m in matches] == [power if metadata != bytes(4) else None]
    assert counts.bad_metadata == 0


@example(b"\x40\x80\x00\x00")  # -128 dBm
@example(b"\x40\x15\x00\x00")  # 21 dBm
@example(b"\x80\x00\x00\x00")
@given(st.binary(min_size=4, max_size=4))
def test_metadata_that_make_no_sense_are_counted_and_the_sighting_still_matches(plain):
    key = key_of(1)
    heard = identifier(key, NOON)
    zeros = encrypt_metadata(key, heard, Metadata(0, 0x40))
    encrypted = bytes(a ^ b ^ c for a, b, c in zip(zeros, bytes(Metadata(0, 0x40)), plain, strict=True))
    matches, counts = found([key], [row(heard, NOON * TEN_MINUTES, 0, encrypted)])
    power = int.from_bytes(plain[1:2], "big", signed=True)
    sensible = plain[0] >> 6 == 1 and -127 <= power <= 20
    assert [m.tx_power_dbm for m in matches] == [power if sensible else None]
    assert counts == Counts(matched=1, bad_metadata=0 if sensible or encrypted == bytes(4) else 1)


def test_where_no_metadata_were_sent_the_power_is_not_known():
    key = key_of(1)
    (day,) = match([key], *stored([row(identifier(key, NOON), NOON * TEN_MINUTES)]))
    assert day.tx_power_dbm.tolist() == [NO_TX_POWER]
    assert [m.tx_power_dbm for m in day] == [None]
    assert day.counts == Counts(matched=1)


# --- the index --------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=50), st.lists(st.binary(min_size=16, max_size=16)))
def test_the_index_misses_nothing_and_lets_through_only_prefixes_that_were_heard(heard, others):
    index = HeardIndex.of([b"".join(heard[:20]), b"".join(heard[20:])])
    asked = [*heard, *others]
    expected = [at for at, one in enumerate(asked) if one[:8] in {h[:8] for h in heard}]
    assert index.candidates(prefixes_of(b"".join(asked))).tolist() == expected


def test_a_prefix_that_begins_and_ends_like_another_is_told_from_it():
    index = HeardIndex.of([bytes(16)])
    asked = bytes(3) + b"\x01" + bytes(12) + bytes(16)
    assert index.by_last_bits[0]
    assert index.by_first_bits[0]
    assert index.candidates(prefixes_of(asked)).tolist() == [1]


def test_tables_do_not_grow_without_bound(monkeypatch):
    rng = np.random.default_rng(1)
    monkeypatch.setattr("edge.tracing.index.LARGEST_TABLE", 14)
    heard = rng.bytes(16 * 50_000)
    index = HeardIndex.of([heard])
    assert len(index.by_last_bits) == len(index.by_first_bits) == 1 << 14
    assert len(index.candidates(prefixes_of(heard))) == 50_000


def test_a_part_of_an_identifier_is_named():
    with pytest.raises(ValueError, match="17 bytes"):
        prefixes_of(bytes(17))


# --- the benchmark ----------------------------------------------------------------------------------------------------

SMALL = MatchingSettings(people=20, days=3, sightings=2000, planted=50, repeats=1)


def test_the_benchmark_finds_what_it_planted_and_measures_both():
    one = measure(SMALL)
    assert one.found == Counts(50, 50, 100)
    assert one.identifiers == 20 * 3 * 144
    assert one.derivations[0] > 0
    assert one.matching[0] > 0
    assert one.memory > 0


def test_the_benchmark_is_no_measurement_where_something_is_not_found(monkeypatch):
    real = MatchingWorld.of

    def without_a_day(settings):
        world = real(settings)
        del world.days[min(world.days)]
        return world

    monkeypatch.setattr(MatchingWorld, "of", without_a_day)
    with pytest.raises(NotWhatWasPlanted, match="planted"):
        measure(SMALL)


@pytest.mark.parametrize(("seconds", "held"), [(2.0, True), (2.01, False)])
def test_matching_may_take_twice_as_long_as_derivations(seconds, held):
    one = MatchingMeasurement(140_000, 20_160_000, 10, (0.5, 1.0, 9.0), (0.1, seconds, 9.0), 0, Counts())
    assert outcome(one).held is held


def test_settings_that_measure_nothing_are_refused():
    for wrong in ({"days": 1}, {"repeats": 0}, {"sightings": 100}):
        with pytest.raises(ValueError, match=r"nothing to measure|too few"):
            MatchingSettings(**wrong)
