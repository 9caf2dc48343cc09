"""The real sensing process, on real stores."""

import json
import os
import signal
import subprocess
import sys

import pytest

from edge.sensing.advertisement import Advertisement
from edge.sensing.contacts import Contact, read_contacts
from edge.sensing.replay import ReplayScanner
from edge.sensing.settings import BadSettings, read_settings
from edge.sensing.sightings import fold
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sightings import Sightings

PUPILS = ("pupil-ann", "pupil-bob", "pupil-cat", "pupil-dan")
HOURS = 4

# Runs the process as `python -m edge.sensing` does, and tells at its end what it needed.
MEASURED = """
import atexit, json, runpy, sys

def tell():
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    sys.stderr.write(json.dumps({"peak_kb": int(peak.split()[1]), "modules": sorted(sys.modules)}))

atexit.register(tell)
runpy.run_module("edge.sensing", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def contacts(tmp_path):
    """Four pupils of one class, in contact two by two, and a visitor from another one."""
    lines = []
    for t in range(0, HOURS * 3600, 20):
        lines.append(f"{t}\t{PUPILS[0]}\t{PUPILS[1]}\t3A\t3A")
        lines.append(f"{t}\t{PUPILS[2]}\tpupil-eva\t3A\t3B")
        if t % 600 < 300:
            lines.append(f"{t}\t{PUPILS[3]}\t{PUPILS[2]}\t3A\t3A")
    path = tmp_path / "contacts.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def start():
    """Starts sensing processes, and ends those that a failed test left."""
    started = []

    def start(line, *command):
        process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "edge.sensing"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Nothing of the test runner's surroundings: coverage and its like would weigh on it.
            env={"PATH": os.environ["PATH"]},
        )
        started.append(process)
        process.stdin.write(line if isinstance(line, str) else json.dumps(line) + "\n")
        process.stdin.flush()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told(database, contacts, zone="3A", **more):
    scanner = {"kind": "replay", "contacts": str(contacts), "zone": zone, "seed": 7}
    scanner |= {name: more.pop(name) for name in ("speed", "until_s") if name in more}
    return {"database": str(database.path), "key": database.key.reveal().hex(), "scanner": scanner} | more


def events(process):
    return map(json.loads, process.stdout)


def until(process, event, **at_least):
    """Read events up to the first `event` whose counts are at least those given."""
    for one in events(process):
        if one["event"] == event and all(one[name] >= least for name, least in at_least.items()):
            return one
    raise AssertionError(f"no {event} before the end: {process.stderr.read()}")


def stored(database):
    connection = database.connect()
    try:
        found = set(Sightings(connection).between(0, 1e11))
        assert len(found) == Sightings(connection).count()
        return found, Listening(connection).until(), Sightings(connection).close_minutes()
    finally:
        connection.close()


def expected(contacts, zone="3A"):
    return set(fold(ReplayScanner(read_contacts(contacts), zone, 7)))


@pytest.mark.system
def test_a_replay_is_stored_whole_and_told_event_by_event(database, contacts, start):
    process = start(told(database, contacts, save_rows=500))
    told_events = list(events(process))
    assert process.wait() == 0
    names = [e["event"] for e in told_events]
    assert names[0] == "listening"
    assert names[-1] == "done"
    assert set(names[1:-1]) == {"heard"}
    assert len(names) > 4
    found, listened_until, minutes = stored(database)
    assert found == expected(contacts)
    assert listened_until == HOURS * 3600
    # Three pupils all the time, and the fourth for half of it.
    assert minutes == [(slot, pytest.approx(3.5 * 30)) for slot in range(2 * HOURS)]
    assert told_events[-1] == {
        "event": "done",
        "stored": len(found),
        "unsaved": 0,
        "dropped": 0,
        "until_s": HOURS * 3600,
        "over_capacity": 0,
        "clock_jumps": 0,
    }
    assert process.stderr.read() == ""


@pytest.mark.system
def test_no_person_reaches_the_store(database, contacts, start, plaintext):
    process = start(told(database, contacts))
    until(process, "done")
    assert process.wait() == 0
    scanner = ReplayScanner(read_contacts(contacts), "3A", 7)
    found, *_ = stored(database)
    there = plaintext(database)
    assert {sighting.identifier for sighting in found} <= scanner.identifiers()
    # Nor does what a tag showed: it is sealed.
    assert not any(sighting.identifier in there for sighting in found)
    for person, key in scanner.person_keys.items():
        for secret in (person.encode(), person.encode()[-4:], key, key.hex().encode()):
            assert secret not in there


@pytest.mark.system
def test_killed_in_the_middle_it_keeps_what_it_said_and_goes_on_without_counting_twice(database, contacts, start):
    # A second of the replay is an hour of the recording: it is killed before it is through.
    process = start(told(database, contacts, speed=3600, save_every_s=0.05))
    said = until(process, "heard", stored=500)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found, listened_until, _ = stored(database)
    assert said["stored"] <= len(found) < len(expected(contacts))
    assert said["until_s"] <= listened_until
    assert found == {row for row in expected(contacts) if row.window * 20 < listened_until}

    again = start(told(database, contacts))
    first, *_, last = events(again)
    assert first == {"event": "listening", "since_s": listened_until}
    assert last["event"] == "done"
    assert last["stored"] == len(expected(contacts)) - len(found)
    found, _, minutes = stored(database)
    assert found == expected(contacts)
    assert [slot for slot, _ in minutes] == list(range(2 * HOURS))


def crowd_of(devices, seconds, **more):
    made_up = {"kind": "generator", "devices": devices, "frames_per_s": 200, "seed": 1, "seconds": seconds}
    return {"scanner": made_up | {"from_s": 1_800_000_000, "speed": None}} | more


@pytest.mark.system
def test_frames_of_a_radio_are_all_stored_and_all_counted(database, contacts, start):
    process = start(told(database, contacts) | crowd_of(devices=50, seconds=300))
    *_, last = events(process)
    assert process.wait() == 0
    assert (last["event"], last["frames"], last["tokens"]) == ("done", 60_000, 60_000)
    assert (last["malformed"], last["no_rssi"], last["over_capacity"], last["dropped"]) == (0, 0, 0, 0)
    found, _, _ = stored(database)
    assert sum(sighting.frames for sighting in found) == 60_000
    assert len(found) == last["stored"] == 50 * 300 // 20
    assert all(len(sighting.metadata) == 4 for sighting in found)


@pytest.mark.system
def test_who_does_not_fit_into_a_window_is_dropped_and_counted(database, contacts, start):
    process = start(told(database, contacts) | crowd_of(devices=50, seconds=100, identifiers_a_window=10))
    *_, last = events(process)
    assert process.wait() == 0
    found, _, _ = stored(database)
    assert sum(sighting.frames for sighting in found) + last["over_capacity"] == 20_000
    assert len(found) == 10 * 5
    assert last["over_capacity"] == 16_000


@pytest.mark.system
def test_asked_to_stop_it_saves_what_it_heard_and_ends_well(database, contacts, start):
    process = start(told(database, contacts, speed=3600, save_every_s=0.2))
    until(process, "heard")
    process.send_signal(signal.SIGTERM)
    last = until(process, "stopped")
    assert process.wait() == 0
    found, listened_until, _ = stored(database)
    assert (last["stored"], last["unsaved"], last["until_s"]) == (len(found), 0, listened_until)


@pytest.mark.system
def test_it_wakes_up_to_stop_even_where_nothing_will_happen_for_long(database, contacts, start):
    process = start(told(database, contacts, speed=0.001))
    until(process, "listening")
    process.send_signal(signal.SIGTERM)
    assert until(process, "stopped")["stored"] == 0
    assert process.wait() == 0


@pytest.mark.system
def test_it_ends_when_the_node_that_started_it_is_gone(database, contacts, start):
    process = start(told(database, contacts, speed=3600, save_every_s=0.05))
    until(process, "heard")
    process.stdout.close()
    assert process.wait() == 4
    assert process.stderr.read() == ""
    stored(database)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "jaga", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder, leave=0):
    """Fill a disk but for some bytes; returns the file to delete again."""
    ballast = folder / "ballast"
    disk = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(bytes(disk.f_bavail * disk.f_frsize - leave))
    return ballast


@pytest.mark.system
def test_on_a_full_disk_it_goes_on_and_saves_everything_when_there_is_room_again(small_disk, contacts, start):
    database = Database(small_disk / "node.db", bytes(range(32)))
    database.connect().close()
    ballast = fill(small_disk, leave=100_000)
    process = start(told(database, contacts, speed=7200, save_every_s=0.1))
    full = until(process, "store_full")
    assert "make room" in full["reason"]
    ballast.unlink()
    # Said once: the next words are that it works again.
    assert next(events(process))["event"] == "store_recovered"
    last = until(process, "done")
    assert process.wait() == 0
    assert (last["unsaved"], last["dropped"]) == (0, 0)
    assert stored(database)[0] == expected(contacts)


@pytest.mark.system
def test_a_disk_that_stays_full_costs_the_oldest_sightings_and_they_are_counted(small_disk, contacts, start):
    database = Database(small_disk / "node.db", bytes(range(32)))
    database.connect().close()
    ballast = fill(small_disk, leave=60_000)
    process = start(told(database, contacts, save_every_s=0.1, save_rows=2000, capacity=500))
    until(process, "store_full")
    ballast.unlink()
    last = until(process, "done")
    assert process.wait() == 0
    assert last["unsaved"] == 0
    assert last["dropped"] > 0
    assert last["stored"] + last["dropped"] == len(expected(contacts))
    found, _, minutes = stored(database)
    assert found < expected(contacts)
    assert all(one == pytest.approx(3.5 * 30) for _, one in minutes)


@pytest.mark.system
def test_on_a_disk_that_is_full_from_the_start_it_waits(small_disk, contacts, start):
    database = Database(small_disk / "node.db", bytes(range(32)))
    ballast = fill(small_disk)
    process = start(told(database, contacts, save_every_s=0.05))
    assert next(events(process))["event"] == "store_full"
    ballast.unlink()
    assert [e["event"] for e in (next(events(process)), next(events(process)))] == ["store_recovered", "listening"]
    until(process, "done")
    assert process.wait() == 0
    assert stored(database)[0] == expected(contacts)


@pytest.mark.system
def test_it_weighs_less_than_45_mb_and_imports_nothing_heavy(database, sociopatterns, start):
    process = start(told(database, sociopatterns / "primaryschool.csv", zone="1B"), "-c", MEASURED)
    last = until(process, "done")
    needed = json.loads(process.stderr.read())
    assert process.wait() == 0
    assert last["stored"] > 20_000
    heavy = {"torch", "flwr", "numpy", "pydantic", "paho", "opacus", "ssl"}
    assert heavy.isdisjoint(module.split(".")[0] for module in needed["modules"])
    assert needed["peak_kb"] < 45_000


@pytest.mark.system
@pytest.mark.parametrize(
    ("change", "last_words"),
    [
        ({"key": "77" * 32}, (3, "WrongKey", "made with key")),
        ({"zone": "9Z"}, (2, "UnknownZone", "choose one of 3A, 3B")),
        ({"contacts": "/absent.csv"}, (2, "BadContactFile", "sociopatterns.org")),
        ({"volume": 11}, (2, "BadSettings", "volume")),
    ],
)
def test_what_it_cannot_do_is_its_last_word(database, contacts, start, change, last_words):
    database.connect().close()
    process = start(told(database, **({"contacts": contacts} | change)))
    (failed,) = events(process)
    status, error, reason = last_words
    assert (failed["event"], failed["error"]) == ("failed", error)
    assert reason in failed["reason"]
    assert process.wait() == status
    assert process.stderr.read() == ""


@pytest.mark.system
def test_a_store_that_is_damaged_under_way_ends_it_with_what_to_do(database, contacts, start):
    connection = database.connect()
    Sightings(connection).add(fold(ReplayScanner([Contact(0, "x", "y", "3A", "3A")], "3A", 1)), logged_at=0)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sightings'").fetchone()[0]
    connection.close()
    content = bytearray(database.path.read_bytes())
    content[(root - 1) * 4096 + 50] ^= 0xFF
    database.path.write_bytes(content)
    process = start(told(database, contacts))
    *_, failed = events(process)
    assert (failed["error"], process.wait()) == ("CorruptStore", 3)
    assert "restore the store from its last backup" in failed["reason"]


SETTINGS = {
    "database": "node.db",
    "key": "ab" * 32,
    "scanner": {"kind": "replay", "contacts": "c.csv", "zone": "3A", "seed": 2**64 - 1},
}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "truncated"),
        ("{", "truncated"),
        (json.dumps(SETTINGS | {"key": "ab" * 31}), "key is not 64 hexadecimal digits"),
        (json.dumps(SETTINGS | {"key": "no secret of mine"}), "expected hexadecimal digits"),
        (json.dumps(SETTINGS | {"save_every_s": 0}), "are positive"),
        (json.dumps(SETTINGS | {"scanner": {"kind": "sonar"}}), "Invalid value 'sonar'"),
        (json.dumps({k: v for k, v in SETTINGS.items() if k != "key"}), "missing required field `key`"),
    ],
)
def test_bad_settings_name_the_field_and_never_the_key(line, complaint):
    with pytest.raises(BadSettings, match=complaint) as raised:
        read_settings(line)
    assert "secret" not in str(raised.value)
    assert "abab" not in str(raised.value)


def test_a_seed_of_64_bits_survives_the_settings(contacts):
    section = read_settings(
        json.dumps(SETTINGS | {"scanner": SETTINGS["scanner"] | {"contacts": str(contacts)}})
    ).scanner
    assert section.seed == 2**64 - 1
    assert any(isinstance(one, Advertisement) for one in section.open(None, lambda seconds: None, print))
