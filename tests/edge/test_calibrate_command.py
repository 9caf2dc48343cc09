"""`jaga-node calibrate` as field staff type it, before the node's own scanners: a capture, and a generator."""

import random
import struct
import time

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.proximity.closeness import Closeness
from edge.proximity.walk import DISTANCES_M
from edge.sensing.rotating import Rotating
from edge.sensing.scanners.btsnoop import UNIX_EPOCH_US
from edge.sensing.scanners.generator import device_secret
from edge.store.calibration import Calibrations, StoredCorrections
from edge.store.database import Database
from edge.store.health import Health
from edge.store.tags import Tags

KEY = bytes(range(32))
SECRET = bytes(range(32, 64))
STARTS = 20_000 * 86_400.0
STILL_S = 20.0
PI_DB = 36.0
"""What the radio of this test adds to the reference curve."""


@pytest.fixture
def node(tmp_path):
    (tmp_path / "store.key").write_text(KEY.hex())
    with_scanner(tmp_path, 'kind = "btsnoop"\ncapture = "walk.btsnoop"')
    connection = Database(tmp_path / "node.db", KEY).connect()
    Tags(connection).add("tag-07", 0.0, SECRET)
    connection.close()
    return tmp_path


@pytest.fixture
def store(node):
    connection = Database(node / "node.db", KEY).connect()
    yield connection
    connection.close()


def with_scanner(folder, table):
    (folder / "node.toml").write_text(f'name = "puskesmas"\n[sensing.scanner]\n{table}\n')


def typed(node, *words, keys=""):
    words = ["calibrate", str(node / "node.toml"), *words]
    result = CliRunner().invoke(app, words, input=keys, env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def capture(path, holds, stranger=b"s" * 32):
    """A controller's log: a tag held still at one (level in dBm, frames) after another, and a loud stranger."""
    tag, other, rng = Rotating(SECRET, "tag"), Rotating(stranger, "tag"), random.Random(0)
    frames = []
    for number, (level, count) in enumerate(holds):
        begins = STARTS + number * STILL_S
        times = sorted([0.0, *(rng.uniform(0.1, STILL_S - 0.1) for _ in range(count))])
        frames.append((begins + times[0], other.ad(begins), -40))
        frames += [(begins + t, tag.ad(begins + t), round(rng.gauss(level, 2))) for t in times[1:]]
    records = b""
    for at_s, ad, rssi in frames:
        report = struct.pack("<BBBB6sB", 0x02, 1, 0x03, 0x01, b"\xc0" * 6, len(ad)) + ad + struct.pack("b", rssi)
        packet = bytes((0x04, 0x3E, len(report))) + report
        at_us = round(at_s * 1e6) + UNIX_EPOCH_US
        records += struct.pack(">IIIIq", len(packet), len(packet), 1, 0, at_us) + packet
    path.write_bytes(b"btsnoop\0" + struct.pack(">II", 1, 1002) + records)


def walk_levels(added=PI_DB, blocked=4.0):
    curve = Closeness.default().curve
    return [curve.at(d) + added + side for side in (blocked, -blocked) for d in DISTANCES_M]


def test_a_walk_is_saved_and_brings_the_radio_to_the_reference(node, store):
    capture(node / "walk.btsnoop", [(level, 60) for level in walk_levels()])
    code, shown = typed(node, "--seconds", "20", keys="\n" * 10)
    assert code == 0, shown
    (session,) = Calibrations(store).sessions()
    assert [(step.distance_m, step.blocked) for step in session.steps] == [
        (d, blocked) for blocked in (False, True) for d in DISTANCES_M
    ]
    assert {step.stats.frames for step in session.steps} == {60}
    assert session.transmitter == "tag-07"
    assert StoredCorrections(store).of("recording", "tag-07") == pytest.approx(-PI_DB, abs=1.5)
    assert StoredCorrections(store).frames_per_window("recording") == 60
    assert "facing the adapter" in shown
    assert "membelakangi adaptor" in shown
    assert "correction / koreksi" in shown


def test_what_the_correction_changes_is_shown(node, store):
    capture(node / "walk.btsnoop", [(level, 60) for level in walk_levels()])
    assert typed(node, "--seconds", "20", keys="\n" * 10)[0] == 0
    far = next(s for s in Calibrations(store).sessions()[0].steps if s.distance_m == 4.0 and s.blocked)
    model, added = Closeness.default(), StoredCorrections(store).of("recording", "tag-07")
    then = model.probability(far.stats, frames_per_window=60)
    now = model.probability(far.stats, correction_db=added, frames_per_window=60)
    assert then > 0.9
    assert now < 0.5
    code, shown = typed(node, "--again")
    assert code == 0
    assert f"{now:.0%}" in shown
    assert f"{added:+.1f} dB" in shown


def test_a_distance_with_too_few_frames_is_done_again(node, store):
    levels = walk_levels()
    capture(node / "walk.btsnoop", [(levels[0], 60), (levels[1], 4), *((level, 60) for level in levels[1:])])
    code, shown = typed(node, "--seconds", "20", keys="\n" * 11)
    assert code == 0
    assert "4 frames, too few" in shown
    assert "4 bingkai, terlalu sedikit" in shown
    assert [step.stats.frames for step in Calibrations(store).sessions()[0].steps] == [60] * 10


def test_a_distance_can_be_left_out(node, store):
    levels = walk_levels()
    capture(node / "walk.btsnoop", [(level, 60) for level in levels[:4] + levels[5:]])
    code, _ = typed(node, "--seconds", "20", keys="\n" * 4 + "s\n" + "\n" * 5)
    assert code == 0
    steps = Calibrations(store).sessions()[0].steps
    assert [(s.distance_m, s.blocked) for s in steps if s.distance_m == 4.0] == [(4.0, True)]


def test_a_walk_that_says_too_little_saves_nothing(node, store):
    capture(node / "walk.btsnoop", [(level, 60) for level in walk_levels()[:3]])
    code, shown = typed(node, "--seconds", "20", keys="\n" * 3 + "s\n" * 7)
    assert code == 2
    assert "nothing was saved" in shown
    assert "tidak ada yang disimpan" in shown
    assert Calibrations(store).sessions() == []
    assert StoredCorrections(store).of("recording") is None


def test_a_recording_that_ends_within_the_walk_is_named(node, store):
    capture(node / "walk.btsnoop", [(-50, 60)])
    code, shown = typed(node, "--seconds", "20", keys="\n" * 10)
    assert code == 2
    assert "rekaman sudah habis" in shown
    assert Calibrations(store).sessions() == []


def test_one_of_several_tags_is_chosen_by_number_or_name(node, store):
    Tags(store).add("tag-08", 0.0, b"8" * 32)
    capture(node / "walk.btsnoop", [(level, 60) for level in walk_levels()])
    code, shown = typed(node, "--seconds", "20", keys="9\n1\n" + "\n" * 10)
    assert code == 0
    assert "Ketik angka 1 sampai 2" in shown
    code, shown = typed(node, "--tag", "tag-99")
    assert code == 2
    assert "tag-07, tag-08" in shown


def test_the_generator_is_heard_as_a_radio_would_be(node, store):
    with_scanner(
        node, 'kind = "generator"\ndevices = 3\nframes_per_s = 9\nseed = 4\nshown_as = "tag"\nfrom_s = 1e9\nspeed = 1e6'
    )
    Tags(store).add("drill", 0.0, device_secret(4, 1))
    code, shown = typed(node, "--tag", "drill", "--seconds", "20", keys="\n" * 10)
    assert code == 0, shown
    assert {step.stats.frames for step in Calibrations(store).sessions()[0].steps} <= set(range(58, 63))


def test_a_second_adapter_is_asked_for(node):
    with_scanner(node, 'kind = "bluepy"\nadapters = ["hci0", "hci1"]')
    code, shown = typed(node, "--adapter", "hci7")
    assert code == 2
    assert "hci0, hci1" in shown


def test_a_node_that_runs_is_to_be_stopped_first(node, store):
    with_scanner(node, 'kind = "bluepy"')
    Health(store).tell("node", "well", time.time())
    code, shown = typed(node, keys="n\n")
    assert code == 2
    assert "systemctl stop jaga-node" in shown
    assert "Hentikan dulu" in shown
    assert Calibrations(store).sessions() == []


def test_a_node_without_a_tag_or_a_scanner_or_a_walk_is_told_what_to_do(node, store):
    assert "run without --again" in typed(node, "--again")[1]
    Tags(store).remove("tag-07")
    code, shown = typed(node)
    assert code == 2
    assert "jaga-node tags add" in shown
    (node / "node.toml").write_text('name = "puskesmas"\n')
    code, shown = typed(node)
    assert code == 3
    assert "[sensing.scanner]" in shown
