"""Recordings and made-up frames as scanners: captures, measurements of others, and the generator."""

import csv
import io
import json
import sqlite3
import struct
from collections import Counter
from itertools import pairwise

import pytest
from bumble.snoop import BtSnooper, Snooper
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.advertisement import HEARTBEAT_S, Advertisement, Heartbeat, RadioFrame
from edge.sensing.formats import Gaen, Tag, read
from edge.sensing.hearing import Counts
from edge.sensing.scanners.btsnoop import UNIX_EPOCH_US, capture
from edge.sensing.scanners.exp34 import exp34, receivers
from edge.sensing.scanners.generator import device_secret, generated
from edge.sensing.scanners.nist import nist
from edge.sensing.scanners.recording import PAUSE_S, BadRecording, Recording
from privacy.tokens import gaen, tags


def frames_in(heard) -> list[Advertisement]:
    return [one for one in heard if isinstance(one, Advertisement)]


# Raw captures


def event_of(frame: dict) -> bytes:
    """The HCI event that a controller sent for a frame (Core 5.4, vol. 4, part E, 7.7.65.2 and 7.7.65.13)."""
    ad = bytes.fromhex(frame["ad"])
    address = bytes.fromhex(frame["addr"].replace(":", ""))[::-1]
    if frame["kind"] == "legacy":
        body = bytes((2, 1, frame["evt"], frame["addr_type"])) + address + bytes((len(ad),)) + ad
        body += struct.pack("<b", frame["rssi"])
    else:
        body = (
            bytes((13, 1)) + struct.pack("<HB", frame["evt"], frame["addr_type"]) + address + bytes((1, 0, 0xFF, 0x7F))
        )
        body += struct.pack("<bHB", frame["rssi"], 0, 0) + bytes(6) + bytes((len(ad),)) + ad
    return bytes((0x3E, len(body))) + body


def btsnoop(records, link: int) -> bytes:
    """A capture of `(time in microseconds, flags, packet)`."""
    file = b"btsnoop\0" + struct.pack(">II", 1, link)
    for at_us, flags, packet in records:
        file += struct.pack(">IIIIq", len(packet), len(packet), flags, 0, at_us) + packet
    return file


@pytest.fixture
def real_frames(shared_data) -> list[dict]:
    lines = (shared_data / "adverts" / "dp3t_gaen_frames_sample.jsonl").read_text().splitlines()
    return sorted(map(json.loads, lines), key=lambda frame: frame["ts_us"])


def as_recorded(frames: list[dict]) -> list[tuple[bytes, float, int]]:
    return [(bytes.fromhex(f["ad"]), (f["ts_us"] - UNIX_EPOCH_US) / 1e6, f["rssi"]) for f in frames]


COMMAND = bytes.fromhex("010c200200")


def test_every_real_report_of_an_h4_capture_is_heard_with_its_level_and_time(tmp_path, real_frames):
    records = [r for f in real_frames for r in ((f["ts_us"], 2, COMMAND), (f["ts_us"], 3, b"\x04" + event_of(f)))]
    (tmp_path / "hci.log").write_bytes(btsnoop(records, 1002))
    heard = list(capture(tmp_path / "hci.log", counts := Counts()))
    assert [(f.ad, f.heard_at_s, f.rssi_dbm) for f in heard] == as_recorded(real_frames)
    assert {f.receiver for f in heard} == {0}
    assert counts.malformed == 0
    assert 1590e6 < heard[0].heard_at_s < 1600e6  # the summer of 2020


def test_a_monitor_capture_tells_adapters_apart(tmp_path, real_frames):
    event, other = 3, 2
    records = [(f["ts_us"], n % 2 << 16 | event, event_of(f)) for n, f in enumerate(real_frames)]
    records.insert(1, (records[0][0], other, event_of(real_frames[0])))
    (tmp_path / "mon.log").write_bytes(btsnoop(records, 2001))
    heard = list(capture(tmp_path / "mon.log", Counts()))
    assert [(f.ad, f.heard_at_s, f.rssi_dbm) for f in heard] == as_recorded(real_frames)
    assert [f.receiver for f in heard] == [n % 2 for n in range(len(real_frames))]


def test_a_capture_by_bumbles_own_writer_is_read(tmp_path, real_frames):
    snooper = BtSnooper(output := io.BytesIO())
    for frame in real_frames:
        snooper.snoop(b"\x04" + event_of(frame), Snooper.Direction.CONTROLLER_TO_HOST)
    (tmp_path / "bumble.log").write_bytes(output.getvalue())
    heard = list(capture(tmp_path / "bumble.log", Counts()))
    assert [(f.ad, f.rssi_dbm) for f in heard] == [(ad, rssi) for ad, _, rssi in as_recorded(real_frames)]


@given(st.data())
def test_a_capture_cut_anywhere_gives_the_frames_before_the_cut(tmp_path_factory, data):
    frame = {"kind": "legacy", "evt": 3, "addr_type": 1, "addr": "00:00:5e:00:53:01", "rssi": -60, "ad": "03036ffd"}
    whole = btsnoop([(n, 3, b"\x04" + event_of(frame)) for n in range(3)], 1002)
    record = (len(whole) - 16) // 3
    cut = data.draw(st.integers(16, len(whole)))
    path = tmp_path_factory.mktemp("cut") / "hci.log"
    path.write_bytes(whole[:cut])
    counts = Counts()
    assert len(list(capture(path, counts))) == (cut - 16) // record
    assert counts.malformed == int((cut - 16) % record > 0)


@given(st.binary(max_size=300))
def test_no_capture_crashes_the_reader(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "hci.log"
    path.write_bytes(b"btsnoop\0" + struct.pack(">II", 1, 1002) + noise)
    list(capture(path, Counts()))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no btsnoop file"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "no btsnoop file"),
        (btsnoop([], 1001), "data link 1001"),
    ],
)
def test_a_file_that_is_no_such_capture_is_refused_with_what_it_should_be(tmp_path, content, said):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadRecording, match=said):
        list(capture(tmp_path / "x", Counts()))


def test_a_missing_capture_is_named(tmp_path):
    with pytest.raises(BadRecording, match="check the path"):
        list(capture(tmp_path / "none", Counts()))


# exp34


def test_one_phone_of_exp34_hears_every_row_of_its_own_with_one_identifier_a_phone_and_interval(shared_data):
    path = shared_data / "exp34" / "scenario01-lunch.sqlite"
    rows = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True).execute(
        "SELECT transmitter_id, timestamp, rssi FROM results WHERE receiver_id = '6' ORDER BY timestamp, db_id"
    )
    truth = [(str(who), at_s, rssi) for who, at_s, rssi in rows]
    heard = frames_in(Recording(lambda: exp34(path, "6", seed=1)))
    assert [(a.heard_at_s, a.rssi_dbm) for a in heard] == [(at_s, rssi) for _, at_s, rssi in truth]
    shown = {(who, int(at_s // 600)): a.identifier for (who, at_s, _), a in zip(truth, heard, strict=True)}
    assert len(set(shown.values())) == len(shown)
    assert all(shown[who, int(at_s // 600)] == a.identifier for (who, at_s, _), a in zip(truth, heard, strict=True))
    again = frames_in(Recording(lambda: exp34(path, "6", seed=2)))
    assert {a.identifier for a in heard}.isdisjoint(a.identifier for a in again)


def test_every_scenario_of_exp34_is_readable_for_each_of_its_receivers(shared_data):
    for path in sorted((shared_data / "exp34").glob("*.sqlite")):
        count = sum(sum(1 for _ in exp34(path, receiver, 1)) for receiver in receivers(path))
        assert count == sqlite3.connect(path).execute("SELECT count(*) FROM results").fetchone()[0]


def test_exp34_names_the_receivers_there_are_and_a_file_that_is_none(shared_data, tmp_path):
    with pytest.raises(BadRecording, match="no receiver '99': choose one of"):
        list(exp34(shared_data / "exp34" / "scenario01-lunch.sqlite", "99", 1))
    (tmp_path / "x").write_bytes(b"not a database, whatever its name says" * 40)
    with pytest.raises(BadRecording, match="bt-measurements"):
        list(exp34(tmp_path / "x", "1", 1))
    with pytest.raises(BadRecording, match="no such file"):
        list(exp34(tmp_path / "none", "1", 1))


# NIST


def test_nists_valid_rows_are_heard_and_the_others_counted(shared_data):
    valid = invalid = 0
    for path in sorted((shared_data / "nist_rpi").glob("*.csv")):
        with path.open() as file:
            levels = [int(row["RSSI"]) for row in csv.DictReader(file)]
        counts = Counts()
        heard = frames_in(Recording(lambda path=path, counts=counts: nist(path, counts), counts))
        assert len(heard) == sum(level >= -127 for level in levels)
        assert counts.no_rssi == sum(level < -127 for level in levels)
        assert counts.malformed == 0
        valid, invalid = valid + len(heard), invalid + counts.no_rssi
    assert (valid, invalid) == (17_490, 106)


def test_a_row_of_nists_that_makes_no_sense_is_counted(tmp_path):
    head = "Timestamp,MAC,RSSI,UUID,RPI,Version,TX_Power,Reserved\n"
    good = f"1588139637.2,b8:27:eb:00:00:00,-45,fd6f,{'b1' * 16},40,0c,0000\n"
    bad = "x,y,z,,,,,\n" + good.replace("b1b1", "b1") + good.replace("-45", "") + "1\n"
    (tmp_path / "n.csv").write_text(head + good + bad + good)
    assert len(list(nist(tmp_path / "n.csv", counts := Counts()))) == 2
    assert counts.malformed == 4
    (tmp_path / "n.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadRecording, match="no column"):
        list(nist(tmp_path / "n.csv", Counts()))


# Replaying


TIMES = st.lists(st.floats(0, 1e5), min_size=1, max_size=60).map(sorted)
SHOWN = next(iter(generated(1, 1.0, 0))).ad


def at(one) -> float:
    return one.at_s if isinstance(one, Heartbeat) else one.heard_at_s


@given(TIMES)
def test_heartbeats_cover_a_recording_and_nothing_of_its_long_pauses(times):
    heard = list(Recording(lambda: [RadioFrame(SHOWN, t, -60) for t in times]))
    assert [a.heard_at_s for a in frames_in(heard)] == times
    assert [at(h) for h in heard] == sorted(at(h) for h in heard)
    beats = [h.at_s for h in heard if isinstance(h, Heartbeat)]
    assert (beats[0], beats[-1]) == (times[0], times[-1])
    unheard = [(a, b) for a, b in pairwise(beats) if b - a > HEARTBEAT_S * 1.0001]
    assert unheard == [(a, b) for a, b in pairwise(times) if b - a > PAUSE_S]


@given(TIMES, st.floats(0, 1e5))
def test_a_recording_cut_in_two_says_the_same_as_a_whole_one(times, cut):
    def frames():
        return [RadioFrame(SHOWN, t, -60) for t in times]

    parts = [*Recording(frames, until_s=cut), *Recording(frames, since_s=cut)]
    assert frames_in(parts) == frames_in(Recording(frames))


def test_speed_asks_for_the_right_waits_and_a_stop_ends_the_recording():
    asked = []
    frames = [RadioFrame(SHOWN, t, -60) for t in (0.0, 100.0, 5000.0)]
    list(Recording(lambda: frames, speed=100, sleep=asked.append))
    assert max(asked) == pytest.approx(1.0, abs=0.1)
    assert len(frames_in(Recording(lambda: frames, speed=100, sleep=lambda _: True))) == 1
    with pytest.raises(ValueError, match="speed 0"):
        Recording(lambda: frames, speed=0)


# The generator


@pytest.mark.parametrize(("shown_as", "kind"), [("gaen", Gaen), ("tag", Tag)])
def test_generated_devices_show_identifiers_that_their_published_day_keys_explain(shown_as, kind):
    noon = 19_000 * 86400.0 + 43_200
    heard = list(generated(5, 50, 7, shown_as=shown_as, from_s=noon, seconds=2))
    assert len(heard) == 100
    keys = [tags.exposure_key(device_secret(7, n), 19_000) for n in range(5)]
    explained = {gaen.identifier(key, int(noon // 600)) for key in keys}
    assert {read(frame.ad).identifier for frame in heard} == explained
    assert all(isinstance(read(frame.ad), kind) for frame in heard)
    assert gaen.decrypt_metadata(keys[0], read(heard[0].ad).identifier, read(heard[0].ad).metadata).tx_power_dbm == 0


def test_generated_identifiers_rotate_and_a_seed_says_the_same_again():
    one, again, other = (
        [(f.ad, f.heard_at_s, f.rssi_dbm) for f in generated(3, 1, seed, from_s=300.0, seconds=900)]
        for seed in (1, 1, 2)
    )
    assert one == again != other
    shown = Counter(ad for ad, _, _ in one)
    assert len(shown) == 6
    assert {int(t // 600) for _, t, _ in one} == {0, 1}
    assert all(-127 <= rssi <= 20 for _, _, rssi in one)


@pytest.mark.parametrize("wrong", [(0, 1.0), (1, 0.0), (1, float("inf")), (10**6, 1.0)])
def test_a_generator_of_nothing_or_too_much_is_refused(wrong):
    with pytest.raises(ValueError, match=r"devices|frames a second"):
        next(generated(*wrong, 0))
