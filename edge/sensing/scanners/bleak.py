"""Scanning through BlueZ, with bleak: for machines where bluetoothd owns the adapter.

Passive where BlueZ has advertisement monitors, active otherwise (then the adapter asks each device for more, which the
device can hear); which one it is, is told. BlueZ hands on what it understood and not the bytes, so they are put
together again from service data and manufacturer data. It also drops repeated frames now and then, so counts of
frames are lower than bluepy's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import UUID

from bleak import BleakScanner
from bleak.args.bluez import BlueZScannerArgs, OrPattern
from bleak.assigned_numbers import AdvertisementDataType as Type
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError, BleakError
from dbus_fast.errors import DBusError

from edge.sensing.advertisement import HEARTBEAT_S
from edge.sensing.formats import read
from edge.sensing.formats.ad import MANUFACTURER_DATA, SERVICE_DATA_16, SERVICE_DATA_128, join
from edge.sensing.scanner import OnTrouble, Trouble
from edge.sensing.scanners.bluez import ANSWER_S, bluez, named
from edge.sensing.scanners.errors import AdapterGone, BluezMissing, BusMissing, ScanRefused
from edge.sensing.scanners.radio import Hear

PROBE_S = 5.0
CHECK_S = 10.0
"""An active scan that checks on a passive one waits this long for a frame, seconds."""

BLUETOOTH_BASE = bytes.fromhex("00001000800000805f9b34fb")
"""The last 12 bytes of a UUID that is assigned a short form (Core 5.4, vol. 3, part B, 2.5.1)."""

SERVICE_DATA = {2: SERVICE_DATA_16, 4: 0x20, 16: SERVICE_DATA_128}
"""Type of a structure by the length of its UUID."""
LONGEST = 254

BLUEZ_NO_RSSI = -127
"""What bleak says where BlueZ has no RSSI, as in a device's last message."""

PATTERNS = [
    OrPattern(0, Type.SERVICE_DATA_UUID16, bytes.fromhex("6ffd")),  # GAEN
    OrPattern(0, Type.MANUFACTURER_SPECIFIC_DATA, b"\xff\xffJG\x01"),  # our own tag
    OrPattern(0, Type.MANUFACTURER_SPECIFIC_DATA, bytes.fromhex("4c000215")),  # iBeacon
    OrPattern(2, Type.MANUFACTURER_SPECIFIC_DATA, bytes.fromhex("beac")),  # AltBeacon
    OrPattern(0, Type.SERVICE_DATA_UUID16, bytes.fromhex("aafe")),  # Eddystone
]


def advertising_data(data: AdvertisementData) -> bytes:
    """The bytes that BlueZ understood, as structures of length, type and value (Core 5.4, vol. 3, part C, 11)."""
    # One structure of extended advertising holds 254 bytes; what is longer came in several, and is none of ours.
    return join(*(one for one in _structures(data) if len(one[1]) <= LONGEST))


def _structures(data: AdvertisementData) -> Iterator[tuple[int, bytes]]:
    for uuid, value in data.service_data.items():
        short = _short_form(uuid)
        yield SERVICE_DATA[len(short)], short + value
    for company, value in data.manufacturer_data.items():
        yield MANUFACTURER_DATA, company.to_bytes(2, "little") + value


def _short_form(uuid: str) -> bytes:
    """2, 4 or 16 bytes, little-endian."""
    whole = UUID(uuid).bytes
    if whole[4:] != BLUETOOTH_BASE:
        return whole[::-1]
    return whole[3:1:-1] if whole[:2] == b"\0\0" else whole[3::-1]


class BleakEar:
    """One adapter, listened to through BlueZ.

    Where the kernel does not know monitors, BlueZ takes one all the same and hears nothing by it. A passive scan that
    heard nothing is therefore followed by a short active one: what that hears the passive one missed, and active it
    stays.

    Args:
        adapter: its name, as `hci0`.
        on_trouble: told where only active scanning is possible.

    Attributes:
        mode: "passive" or "active", once it scans.
    """

    def __init__(
        self,
        adapter: str,
        on_trouble: OnTrouble,
        *,
        probe_s: float = PROBE_S,
        renew_s: float = HEARTBEAT_S,
        check_s: float = CHECK_S,
    ) -> None:
        self.adapter = adapter
        self.mode: str | None = None
        self._on_trouble = on_trouble
        self._probe_s = probe_s
        self._renew_s = renew_s
        self._check_s = check_s
        self._check = False
        self._deaf = False

    async def listen(self, hear: Hear, listening: Callable[[], None]) -> None:
        """See `Ear`.

        Raises:
            RadioError: one of `edge.sensing.scanners.errors`, by cause.
        """
        heard_s = started_s = time.monotonic()

        def found(_: BLEDevice, data: AdvertisementData) -> None:
            nonlocal heard_s
            if data.rssi == BLUEZ_NO_RSSI or not (ad := advertising_data(data)):
                return
            heard_s = time.monotonic()
            if self._check and read(ad) is not None:
                self._check, self._deaf = False, True
                self._tell("is deaf when it scans passively: this kernel has no monitors of advertisements")
            hear(ad, data.rssi)

        async with bluez() as daemon:
            await daemon.check_power(self.adapter)
            owner = await daemon.owner()
            can = await daemon.hears_by_pattern(self.adapter)
            if not can and self.mode is None:
                self._tell("cannot scan passively: BlueZ was not started with --experimental")
            passive = can and not self._check and not self._deaf
            self.mode = "passive" if passive else "active"
            scanner = self._scanner(found, passive=passive)
            await self._start(scanner)
            try:
                listening()
                while time.monotonic() - heard_s < (self._check_s if self._check else self._renew_s):
                    await asyncio.sleep(self._probe_s)
                    await daemon.check_power(self.adapter)
                    if await daemon.owner() != owner:
                        raise BluezMissing("bluetoothd was started anew; the scan is too")
            finally:
                # Where BlueZ or the adapter is gone, so is the scan.
                with suppress(BleakError, DBusError, OSError, EOFError, AssertionError, TimeoutError):
                    async with asyncio.timeout(ANSWER_S):
                        await scanner.stop()
        self._check = passive and heard_s == started_s

    async def _start(self, scanner: BleakScanner) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await scanner.start()
        except (TimeoutError, OSError, EOFError) as why:
            raise named(self.adapter, "NoReply") from why
        except BleakDBusError as why:
            raise named(self.adapter, why.dbus_error, why.dbus_error_details or "") from why
        except BleakBluetoothNotAvailableError as why:
            raise BusMissing(f"{self.adapter}: {why.args[0]}: sudo systemctl restart bluetooth") from why
        except BleakError as why:
            kind = AdapterGone if "not found" in str(why) else ScanRefused
            raise kind(f"{self.adapter}: {why}: plug it in, or correct `adapters`") from why

    def _scanner(self, found: Callable[[BLEDevice, AdvertisementData], None], *, passive: bool) -> BleakScanner:
        if passive:
            args = BlueZScannerArgs(adapter=self.adapter, or_patterns=list(PATTERNS))
            return BleakScanner(found, scanning_mode="passive", bluez=args)
        args = BlueZScannerArgs(adapter=self.adapter, filters={"DuplicateData": True})
        return BleakScanner(found, scanning_mode="active", bluez=args)

    def _tell(self, what: str) -> None:
        reason = f"{self.adapter} {what}. It scans actively; scanner kind bluepy does without"
        self._on_trouble(Trouble(self.adapter, "ActiveScan", reason))
