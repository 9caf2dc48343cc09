"""Advertising our own tag from a Pi, through BlueZ.

Each identifier is an advertisement of its own, of the type that cannot be connected to: for those the kernel takes a
fresh random address every time, so the address changes with the identifier and does not tie one to the next.
"""
# No `from __future__ import annotations`: dbus-fast reads the annotations of a service as they are.

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from dbus_fast import PropertyAccess, Variant
from dbus_fast.annotations import DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from edge.sensing.formats.ad import MANUFACTURER_DATA, split
from edge.sensing.rotating import Rotating, rotates_at
from edge.sensing.scanner import OnTrouble, Trouble
from edge.sensing.scanners.bluez import Bluez, bluez
from edge.sensing.scanners.errors import BluezMissing, RadioError

MANAGER = "org.bluez.LEAdvertisingManager1"
PATH = "/id/jaga/beacon"
PROBE_S = 5.0
"""BlueZ and the adapter are looked at this often, seconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class OneIdentifier(ServiceInterface):
    """What BlueZ asks for before it advertises (BlueZ, doc/org.bluez.LEAdvertisement.rst)."""

    def __init__(self, ad: bytes) -> None:
        super().__init__("org.bluez.LEAdvertisement1")
        self._ad = ad

    @dbus_method()
    def Release(self) -> None:
        """BlueZ dropped it; the next look at BlueZ finds out why."""

    @dbus_property(PropertyAccess.READ)
    def Type(self) -> DBusStr:
        return "broadcast"

    @dbus_property(PropertyAccess.READ)
    def ManufacturerData(self) -> Annotated[dict[int, Any], DBusSignature("a{qv}")]:
        data = [data for kind, data in split(self._ad)[0] if kind == MANUFACTURER_DATA]
        return {int.from_bytes(one[:2], "little"): Variant("ay", one[2:]) for one in data}


class Beacon:
    """One tag on one adapter.

    Args:
        adapter: its name, as `hci0`.
        tag: what is advertised.
        on_trouble: told when it is not on the air, why, and when it is again.
        clock: seconds since the epoch; a tag with a wrong clock is not recognized.
        on_air: called with the time until which an identifier is on the air.
    """

    def __init__(
        self,
        adapter: str,
        tag: Rotating,
        on_trouble: OnTrouble,
        *,
        clock: Callable[[], float] = time.time,
        on_air: Callable[[float], None] = lambda _: None,
        probe_s: float = PROBE_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._adapter = adapter
        self._tag = tag
        self._on_trouble = on_trouble
        self._clock = clock
        self._on_air = on_air
        self._probe_s = probe_s
        self._first_pause_s = first_pause_s
        self._trouble: Trouble | None = None

    async def advertise(self) -> None:
        """Advertise until cancelled; what goes wrong is told and tried again."""
        pause_s = self._first_pause_s
        while True:
            try:
                async with bluez() as daemon:
                    while True:
                        await self._one_identifier(daemon)
                        pause_s = self._first_pause_s
            except RadioError as why:
                if self._trouble is None or self._trouble.error != type(why).__name__:
                    self._trouble = Trouble(self._adapter, type(why).__name__, str(why))
                    self._on_trouble(self._trouble)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _one_identifier(self, daemon: Bluez) -> None:
        """Put the identifier of this time on the air until it is over."""
        now = self._clock()
        until_s = rotates_at(now)
        await daemon.check_power(self._adapter)
        owner = await daemon.owner()
        advertisement = OneIdentifier(self._tag.ad(now))
        path = f"{PATH}/{int(until_s)}"
        daemon.bus.export(path, advertisement)
        try:
            await daemon.call(self._adapter, MANAGER, "RegisterAdvertisement", "oa{sv}", [path, {}])
            if self._trouble is not None:
                self._on_trouble(Trouble(self._adapter, self._trouble.error, "it is on the air again", over=True))
                self._trouble = None
            self._on_air(until_s)
            # The clock is asked each time: one that is set must change the identifier at once.
            while now <= self._clock() < until_s:
                await asyncio.sleep(min(self._probe_s, until_s - self._clock()))
                await daemon.check_power(self._adapter)
                if await daemon.owner() != owner:
                    raise BluezMissing("bluetoothd was started anew; the tag is put on the air again")
        finally:
            # Without this, a cancelled or failed one would stay on the air beside its successor.
            with suppress(RadioError):
                await daemon.call(self._adapter, MANAGER, "UnregisterAdvertisement", "o", [path])
            daemon.bus.unexport(path, advertisement)
