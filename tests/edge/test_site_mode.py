"""The history of a node's modes, and encounters that go by it."""

import math

import pytest

from edge.config import BadConfig, NodeConfig
from edge.sensing.sightings import WINDOW_S, Sighting
from edge.store.calibration import StoredCorrections
from edge.store.sightings import Sightings
from edge.store.site import ModeStretch, SiteModes
from edge.store.tags import Tags
from edge.tracing.calibration import Calibration
from edge.tracing.site import WORDS, SiteEncounters
from privacy.tokens.gaen import Metadata, encrypt_metadata
from privacy.tokens.tags import exposure_key, identifiers

DAY = 20_000
NOON = DAY * 86400 + 43200


def config(tmp_path, site=""):
    file = tmp_path / "node.toml"
    file.write_text(f'name = "puskesmas"\n[site]\n{site}\n')
    return NodeConfig.load(file)


def test_a_mode_is_kept_with_since_when(connection):
    modes = SiteModes(connection)
    assert modes.declare("zone", 100) is False
    assert modes.declare("zone", 150) is False
    assert modes.declare("person", 200) is True
    assert modes.stretches() == [ModeStretch("zone", -math.inf, 200), ModeStretch("person", 200, math.inf)]


def test_the_modes_of_a_time_are_cut_to_it(connection):
    modes = SiteModes(connection)
    modes.declare("zone", 0)
    modes.declare("room", 100)
    modes.declare("person", 200)
    assert modes.during(50, 150) == [ModeStretch("zone", 50, 100), ModeStretch("room", 100, 150)]
    assert modes.during(100, 200) == [ModeStretch("room", 100, 200)]
    assert modes.during(500, 600) == [ModeStretch("person", 500, 600)]


def test_a_node_that_never_started_has_no_modes(connection):
    assert SiteModes(connection).stretches() == []


def test_a_clock_that_went_back_does_not_rewrite_history(connection):
    modes = SiteModes(connection)
    modes.declare("zone", 1000)
    modes.declare("person", 500)
    assert [one.mode for one in modes.stretches()] == ["zone", "person"]
    assert modes.during(0, 900) == [ModeStretch("zone", 0, 900)]


def test_an_unknown_mode_is_refused(connection):
    with pytest.raises(ValueError, match="choose one of zone, room, person"):
        SiteModes(connection).declare("school", 0)


def sees(connection, secret, at_s, *, rssi=-70, metadata=b"", shown_at_s=None, windows=30):
    """The tag with that secret, heard from a time on for ten minutes."""
    shown = identifiers(secret, DAY)[int((shown_at_s or at_s) % 86400 // 600)]
    if metadata:
        metadata = encrypt_metadata(exposure_key(secret, DAY), shown, Metadata(*metadata))
    first = at_s // WINDOW_S
    rows = [Sighting(shown, w, 1, rssi, rssi * rssi, rssi, rssi, metadata) for w in range(first, first + windows)]
    Sightings(connection).add(rows, logged_at=at_s)


def found(connection, config, day=DAY):
    return [
        (one.mode, {(pair.a, pair.b): round(pair.minutes, 3) for pair in one.pairs})
        for one in SiteEncounters(connection, config, Calibration()).on(day)
    ]


def test_each_part_of_a_day_is_read_as_the_mode_that_was_then(connection, tmp_path):
    a, b = (Tags(connection).add(label, 0).secret for label in ("anggrek", "bakung"))
    modes = SiteModes(connection)
    modes.declare("zone", NOON - 3600)
    modes.declare("person", NOON)
    for at in (NOON - 600, NOON):
        sees(connection, a, at)
        sees(connection, b, at)
    worn = {("", "anggrek"): 10.0, ("", "bakung"): 10.0}
    expected = [("zone", {("anggrek", "bakung"): 10.0}), ("person", worn)]
    assert found(connection, config(tmp_path, 'mode = "person"')) == expected


def test_a_tag_is_one_subject_across_its_identifiers_and_midnight_is_a_new_day(connection, tmp_path):
    secret = Tags(connection).add("anggrek", 0).secret
    for at in range(NOON, NOON + 6000, 600):
        sees(connection, secret, at)
    node = config(tmp_path, 'mode = "person"')
    assert found(connection, node) == [("person", {("", "anggrek"): 100.0})]
    assert found(connection, node, DAY + 1) == [("person", {})]


def test_what_a_tag_says_of_its_power_counts(connection, tmp_path):
    secret = Tags(connection).add("anggrek", 0).secret
    sees(connection, secret, NOON, rssi=-80)
    sees(connection, secret, NOON + 600, rssi=-80, metadata=(0,))
    assert found(connection, config(tmp_path, 'mode = "person"')) == [("person", {("", "anggrek"): 10.0})]


def test_an_identifier_that_is_played_again_hours_later_is_a_strangers(connection, tmp_path):
    secret = Tags(connection).add("anggrek", 0).secret
    sees(connection, secret, NOON + 4 * 3600, shown_at_s=NOON)
    [day] = SiteEncounters(connection, config(tmp_path, 'mode = "person"'), Calibration()).on(DAY)
    assert day.pairs == ()
    assert [one.tokens for one in day.strangers] == [1]


def test_a_receivers_correction_is_added(connection, tmp_path):
    secret = Tags(connection).add("anggrek", 0).secret
    sees(connection, secret, NOON, rssi=-100)
    node = config(tmp_path, 'mode = "person"')
    assert found(connection, node) == [("person", {})]
    corrected = SiteEncounters(connection, node, Calibration({0: 20.0})).on(DAY)
    assert [pair.minutes for one in corrected for pair in one.pairs] == [pytest.approx(10)]


def test_every_mode_says_what_it_can_and_cannot_say_in_both_languages():
    for english, bahasa in WORDS.values():
        assert "not" in english
        assert "tidak" in bahasa or "bukan" in bahasa


@pytest.mark.parametrize(
    ("site", "why"),
    [
        ('mode = "school"', "site.mode"),
        ('mode = "room"', "needs two receivers"),
        ('receivers = [{number = 0, room = "a"}, {number = 0, room = "b"}]', "each number once"),
        ('room = "a"\nadjacent = [["a", "gudang"]]', "gudang, where no receiver is"),
    ],
)
def test_a_site_that_contradicts_itself_is_refused(tmp_path, site, why):
    with pytest.raises(BadConfig, match=why):
        config(tmp_path, site)


def test_a_tags_own_correction_is_added_too(connection, tmp_path):
    secret = Tags(connection).add("anggrek", 0).secret
    sees(connection, secret, NOON, rssi=-100)
    node = config(tmp_path, 'mode = "person"')
    corrected = SiteEncounters(connection, node, Calibration({0: 10.0}, {"anggrek": 10.0})).on(DAY)
    assert [pair.minutes for one in corrected for pair in one.pairs] == [pytest.approx(10)]
    other = SiteEncounters(connection, node, Calibration({0: 10.0}, {"bakung": 10.0})).on(DAY)
    assert [pair.minutes for one in other for pair in one.pairs] == [pytest.approx(5)]


def test_calibration_is_read_by_the_place_of_an_adapter(connection):
    StoredCorrections(connection).set({"hci1": 3.0}, {"anggrek": -2.0}, 1.0, {"hci1": 40.0})
    found = Calibration.of(connection, ("hci0", "hci1"))
    assert found == Calibration({1: 3.0}, {"anggrek": -2.0}, {1: 40.0})
    assert found.correction_db(1, "anggrek") == 1.0
    assert found.correction_db(0, "melati") == 0.0
