"""A Pi as a tag: real D-Bus, with a stand-in for bluetoothd."""

import asyncio
import secrets
import signal
import subprocess
import sys
import time

import pytest
from bluez_double import BluezDouble, private_bus
from waiting import wait_until

from edge.sensing.beacon.beacon import Beacon
from edge.sensing.formats import Tag, read
from edge.sensing.formats.ad import MANUFACTURER_DATA, join
from edge.sensing.rotating import Rotating
from edge.store.database import Database
from edge.store.tags import Tags
from privacy.tokens import gaen, tags

pytestmark = pytest.mark.system

SECRET = bytes(range(32))
NOON = 19_000 * 86400 + 12 * 3600


@pytest.fixture
def bluez(tmp_path, monkeypatch):
    with private_bus(tmp_path) as address, BluezDouble(address) as double:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield double


class Watch:
    """A clock that the test sets."""

    def __init__(self, now: float) -> None:
        self.set_to(now)

    def set_to(self, now: float) -> None:
        self._off = now - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self._off


def while_advertising(do, told: list, clock=time.time) -> None:
    """Run `do` in a thread while a tag is advertised."""
    beacon = Beacon("hci0", Rotating(SECRET, "tag", -12), told.append, clock=clock, probe_s=0.05, first_pause_s=0.05)

    async def both() -> None:
        task = asyncio.create_task(beacon.advertise())
        await asyncio.to_thread(do)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(both())


def shown(advertisement: dict) -> Tag:
    """What a receiver would read."""
    [(company, data)] = advertisement["ManufacturerData"].items()
    found = read(join((MANUFACTURER_DATA, company.to_bytes(2, "little") + bytes(data.value))))
    assert isinstance(found, Tag)
    return found


def test_the_identifier_on_the_air_is_the_tags_own_of_this_time_and_cannot_be_connected_to(bluez):
    while_advertising(lambda: wait_until(lambda: bluez.adapters["hci0"].advertisements), [], Watch(NOON + 1))
    [advertisement] = bluez.registered
    assert advertisement["Type"] == "broadcast"
    key = tags.exposure_key(SECRET, 19_000)
    frame = shown(advertisement)
    assert frame.identifier == gaen.identifier(key, NOON // 600)
    assert gaen.decrypt_metadata(key, frame.identifier, frame.metadata).tx_power_dbm == -12
    assert bluez.adapters["hci0"].advertisements == {}


def test_the_identifier_changes_with_the_interval_and_never_are_two_on_the_air(bluez):
    told = []
    most = []

    def play() -> None:
        wait_until(lambda: len(bluez.registered) == 1)
        watch.set_to(NOON + 600 + 1)
        wait_until(lambda: most.append(on_the_air()) or len(bluez.registered) == 2)
        watch.set_to(NOON + 1200 + 1)
        wait_until(lambda: most.append(on_the_air()) or len(bluez.registered) == 3)

    def on_the_air() -> int:
        return len(bluez.adapters["hci0"].advertisements)

    watch = Watch(NOON + 599)
    while_advertising(play, told, watch)
    key = tags.exposure_key(SECRET, 19_000)
    assert [shown(a).identifier for a in bluez.registered[:3]] == [
        gaen.identifier(key, NOON // 600 + n) for n in range(3)
    ]
    assert max(most) == 1
    assert told == []


def test_a_clock_that_is_set_back_changes_the_identifier_at_once(bluez):
    watch = Watch(NOON + 100)

    def play() -> None:
        wait_until(lambda: len(bluez.registered) == 1)
        watch.set_to(NOON - 86400)
        wait_until(lambda: len(bluez.registered) == 2, 5)

    while_advertising(play, [], watch)
    assert shown(bluez.registered[1]).identifier == tags.identifiers(SECRET, 18_999)[72]


def test_trouble_is_told_once_and_again_when_the_tag_is_back_on_the_air(bluez):
    told = []

    def play() -> None:
        wait_until(lambda: bluez.registered)
        bluez.power("hci0", False)
        wait_until(lambda: told)
        time.sleep(0.5)
        bluez.power("hci0", True)
        wait_until(lambda: len(told) == 2)

    while_advertising(play, told)
    assert [(t.error, t.over) for t in told] == [("NotPowered", False), ("NotPowered", True)]


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ("org.bluez.Error.NotPermitted", "AdvertisingRefused"),
        ("org.bluez.Error.InvalidLength", "AdvertisingRefused"),
        ("org.freedesktop.DBus.Error.AccessDenied", "NoPermission"),
    ],
)
def test_a_refusal_of_bluez_is_named(bluez, refusal, error):
    bluez.adapters["hci0"].refuse = refusal
    told = []
    while_advertising(lambda: wait_until(lambda: told), told)
    assert [t.error for t in told] == [error]


def test_an_adapter_that_is_unplugged_and_plugged_in_again_advertises_again(bluez):
    told = []

    def play() -> None:
        wait_until(lambda: bluez.registered)
        bluez.unplug("hci0")
        wait_until(lambda: told)
        bluez.plug_in("hci0")
        wait_until(lambda: len(told) == 2)

    while_advertising(play, told)
    assert [(t.error, t.over) for t in told] == [("AdapterGone", False), ("AdapterGone", True)]


def test_the_command_advertises_until_it_is_stopped(bluez, tmp_path):
    (tmp_path / "tag.secret").write_text(SECRET.hex() + "\n")
    command = "from edge.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "beacon", "--secret-file", str(tmp_path / "tag.secret")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: bluez.adapters["hci0"].advertisements or process.poll() is not None, 30)
        day, interval = divmod(int(time.time()) // 600, 144)
        assert (
            shown(bluez.registered[0]).identifier in tags.identifiers(SECRET, day)[max(0, interval - 1) : interval + 1]
        )
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "on the air until" in out
    assert SECRET.hex() not in out + err
    assert bluez.adapters["hci0"].advertisements == {}


def test_the_command_refuses_a_secret_that_is_none(tmp_path):
    (tmp_path / "tag.secret").write_text(secrets.token_hex(8))
    command = [sys.executable, "-c", "from edge.cli import main; main()", "beacon", "--secret-file"]
    done = subprocess.run([*command, str(tmp_path / "tag.secret")], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "64 hexadecimal digits, not 16" in done.stderr


def test_a_tag_of_the_sites_register_is_advertised_by_its_label_and_an_unknown_one_is_named(bluez, tmp_path):
    (tmp_path / "node.toml").write_text('name = "x"\n')
    (tmp_path / "store.key").write_text("11" * 32)
    connection = Database(tmp_path / "node.db", bytes([0x11]) * 32).connect()
    Tags(connection).add("tag-07", 1.0, SECRET)
    connection.close()
    command = [
        sys.executable,
        "-c",
        "from edge.cli import main; main()",
        "beacon",
        str(tmp_path / "node.toml"),
        "--tag",
    ]
    unknown = subprocess.run([*command, "tag-08"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 3
    assert "tag-07" in unknown.stderr
    process = subprocess.Popen([*command, "tag-07"])
    try:
        wait_until(lambda: bluez.registered or process.poll() is not None, 30)
        day = int(time.time()) // 86400
        assert shown(bluez.registered[0]).identifier in tags.identifiers(SECRET, day)
    finally:
        process.terminate()
        process.wait(10)
