"""Scanning through BlueZ: real bleak on a real, private D-Bus, with a stand-in for bluetoothd."""

import asyncio
import os
import time

import pytest
from bluez_double import BluezDouble, private_bus
from sensing_process import sensing
from waiting import wait_until

from edge.sensing.scanners.bleak import BleakEar
from edge.sensing.scanners.errors import (
    AdapterGone,
    BluezMissing,
    BusMissing,
    NoPermission,
    NotPowered,
    RadioError,
    ScanRefused,
)

pytestmark = pytest.mark.system

GAEN = bytes.fromhex("03036ffd17166ffd") + bytes(range(20))
TAG = bytes.fromhex("020106" + "1affffff") + b"JG\x01" + bytes(range(20))
LAMP = bytes.fromhex("0201060303e7fe0416e7fe01")


@pytest.fixture
def bluez(tmp_path, monkeypatch):
    with private_bus(tmp_path) as address, BluezDouble(address) as double:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield double


class Listening:
    """An ear that listens while the test does other things."""

    def __init__(self, ear: BleakEar) -> None:
        self.ear = ear
        self.heard: list[tuple[bytes, int]] = []
        self.started = 0

    def _listening(self) -> None:
        self.started += 1

    def until(self, do, *, fails: bool = False) -> RadioError | None:
        """Run `do` in a thread while it listens; where it then fails, the error."""

        async def both() -> RadioError | None:
            task = asyncio.create_task(self.ear.listen(lambda *frame: self.heard.append(frame), self._listening))
            done = asyncio.create_task(asyncio.to_thread(do))
            await done
            if fails:
                await asyncio.wait({task}, timeout=8)
            task.cancel()
            try:
                await task
            except RadioError as why:
                return why
            except asyncio.CancelledError:
                pass
            return None

        return asyncio.run(both())


def ear(troubles: list | None = None, **times: float) -> BleakEar:
    return BleakEar("hci0", ([] if troubles is None else troubles).append, **times)


@pytest.mark.parametrize("frame", [GAEN, TAG], ids=["gaen", "tag"])
def test_a_frame_in_the_air_is_heard_passively_with_what_matters_of_its_bytes(bluez, frame):
    listening = Listening(ear())

    def play() -> None:
        wait_until(lambda: bluez.scanning("hci0"))
        assert bluez.on_air("hci0", frame, -61)
        assert bluez.on_air("hci0", frame, -62)
        assert not bluez.on_air("hci0", LAMP, -50)
        wait_until(lambda: len(listening.heard) == 2)

    assert listening.until(play) is None
    assert listening.ear.mode == "passive"
    assert [rssi for _, rssi in listening.heard] == [-61, -62]
    payload = frame[frame.index(b"\x6f\xfd", 4) :] if frame is GAEN else frame[5:]
    assert all(ad[2:] == payload for ad, _ in listening.heard)
    assert not bluez.scanning("hci0")


def test_where_bluez_cannot_scan_passively_it_scans_actively_and_says_so(bluez):
    bluez.adapters["hci0"].monitors = False
    troubles = []
    listening = Listening(ear(troubles))

    def play() -> None:
        wait_until(lambda: bluez.scanning("hci0"))
        assert bluez.on_air("hci0", GAEN, -70)
        wait_until(lambda: listening.heard)

    assert listening.until(play) is None
    assert listening.ear.mode == "active"
    assert [t.error for t in troubles] == ["ActiveScan"]
    assert bluez.adapters["hci0"].filters[0]["DuplicateData"].value is True


def test_an_adapter_that_is_switched_off_while_it_listens_is_named(bluez):
    def play() -> None:
        wait_until(lambda: bluez.scanning("hci0"))
        bluez.power("hci0", False)

    why = Listening(ear(probe_s=0.1)).until(play, fails=True)
    assert type(why) is NotPowered
    assert "bluetoothctl power on" in str(why)


def test_an_adapter_that_is_unplugged_while_it_listens_is_named(bluez):
    def play() -> None:
        wait_until(lambda: bluez.scanning("hci0"))
        bluez.unplug("hci0")

    assert type(Listening(ear(probe_s=0.1)).until(play, fails=True)) is AdapterGone


def test_a_bluetoothd_that_ends_while_it_listens_is_named(bluez):
    def play() -> None:
        wait_until(lambda: bluez.scanning("hci0"))
        bluez.quit()

    assert type(Listening(ear(probe_s=0.1)).until(play, fails=True)) is BluezMissing


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ("org.bluez.Error.NotReady", NotPowered),
        ("org.freedesktop.DBus.Error.AccessDenied", NoPermission),
        ("org.bluez.Error.InProgress", ScanRefused),
    ],
)
@pytest.mark.parametrize("passive", [True, False])
def test_a_refusal_of_bluez_is_named(bluez, refusal, error, passive):
    bluez.adapters["hci0"].refuse = refusal
    bluez.adapters["hci0"].monitors = passive
    assert type(Listening(ear()).until(lambda: None, fails=True)) is error


def test_silence_ends_in_a_new_scan_that_proves_the_adapter(bluez):
    listening = Listening(ear(probe_s=0.1, renew_s=0.5))
    started = time.monotonic()
    asyncio.run(listening.ear.listen(lambda *_: None, listening._listening))
    assert time.monotonic() - started >= 0.5
    assert listening.started == 1
    assert not bluez.scanning("hci0")


def test_a_passive_scan_that_is_deaf_is_found_out_by_a_short_active_one_and_stays_active(bluez):
    bluez.adapters["hci0"].deaf = True
    troubles = []
    one = ear(troubles, probe_s=0.1, renew_s=0.4, check_s=2.0)
    listening = Listening(one)

    def play() -> None:
        wait_until(lambda: bluez.scanning("hci0"))
        assert not bluez.on_air("hci0", GAEN, -60)

    listening.until(play)
    assert one.mode == "passive"
    asyncio.run(one.listen(lambda *_: None, lambda: None))

    def show() -> None:
        wait_until(lambda: bluez.adapters["hci0"].discovering and bluez.on_air("hci0", GAEN, -60))
        wait_until(lambda: troubles)  # what is on the bus has still to be heard

    listening.until(show)
    assert [t.error for t in troubles] == ["ActiveScan"]
    assert "deaf" in troubles[0].reason
    asyncio.run(one.listen(lambda *_: None, lambda: None))
    assert one.mode == "active"


def test_an_empty_room_is_checked_on_actively_and_then_heard_passively_again(bluez):
    troubles = []
    one = ear(troubles, probe_s=0.05, renew_s=0.2, check_s=0.2)
    modes = []
    for _ in range(4):
        asyncio.run(one.listen(lambda *_: None, lambda: None))
        modes.append(one.mode)
    assert modes == ["passive", "active", "passive", "active"]
    assert troubles == []


def test_a_bluetoothd_that_was_started_anew_is_noticed(bluez):
    def play() -> None:
        wait_until(lambda: bluez.scanning("hci0"))
        bluez.restart()

    assert type(Listening(ear(probe_s=0.1)).until(play, fails=True)) is BluezMissing


def test_a_machine_without_dbus_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    with pytest.raises(BusMissing, match="systemctl start dbus"):
        asyncio.run(ear().listen(lambda *_: None, lambda: None))


def test_a_bus_without_bluez_is_told_so(tmp_path, monkeypatch):
    with private_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        with pytest.raises(BluezMissing, match="systemctl enable --now bluetooth"):
            asyncio.run(ear().listen(lambda *_: None, lambda: None))


def test_a_sensing_process_on_bluez_hears_tells_and_stays_small(bluez, tmp_path):
    address = os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
    with sensing(tmp_path, {"kind": "bleak"}, DBUS_SYSTEM_BUS_ADDRESS=address) as process:
        process.until("listening")
        wait_until(lambda: bluez.scanning("hci0"))
        for number in range(500):
            bluez.on_air("hci0", GAEN, -50 - number % 40, device=f"00_00_5E_00_53_{number % 200:02X}")
        bluez.power("hci0", False)
        assert process.until("radio_trouble")["error"] == "NotPowered"
        bluez.power("hci0", True)
        process.until("radio_recovered")
        assert process.peak_mb < 45
        stopped = process.stop()
    assert stopped["tokens"] == 500
