"""BlueZ over D-Bus, as far as its adapters go; every failure is one of the named errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusError

from edge.sensing.scanners.errors import (
    AdapterGone,
    AdvertisingRefused,
    Blocked,
    BluezMissing,
    BusMissing,
    NoPermission,
    NotPowered,
    RadioError,
    ScanRefused,
)

BLUEZ = "org.bluez"
ADAPTER = "org.bluez.Adapter1"
MONITORS = "org.bluez.AdvertisementMonitorManager1"
BUS, BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"
ANSWER_S = 10.0
UNKNOWN = frozenset({"UnknownObject", "UnknownMethod", "UnknownInterface", "UnknownProperty", "InvalidArgs"})


def named(adapter: str, error: str, detail: str = "", member: str = "") -> RadioError:
    """The error that a D-Bus error name stands for, where `member` was called."""
    kind = error.rpartition(".")[2]
    if member == "RegisterAdvertisement" and error.startswith(BLUEZ) and kind not in ("NotReady", "NotAuthorized"):
        return AdvertisingRefused(
            f"{adapter} does not advertise ({kind} {detail}): stop what else advertises here; controllers take a few "
            "advertisements only"
        )
    if kind in ("ServiceUnknown", "NameHasNoOwner", "Disconnected", "NoReply"):
        return BluezMissing("bluetoothd does not run or does not answer: sudo systemctl enable --now bluetooth")
    if kind in ("AccessDenied", "NotPermitted", "NotAuthorized"):
        return NoPermission(
            f"the node may not use BlueZ ({detail}): sudo usermod -aG bluetooth USER (whom it runs as); restart it"
        )
    if kind in ("NotReady",):
        return NotPowered(f"{adapter} is switched off: bluetoothctl power on")
    if kind in UNKNOWN:
        return AdapterGone(f"{adapter} is not there: plug it in, or correct `adapters`")
    return ScanRefused(f"{adapter}: BlueZ says {kind} {detail}".rstrip() + "; it is reset if this goes on")


class Bluez:
    """One connection to BlueZ."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus

    async def call(
        self, adapter: str, interface: str, member: str, signature: str = "", body: list[Any] | None = None
    ) -> list[Any]:
        """Call a method of an adapter.

        Raises:
            RadioError: by cause.
        """
        return await self._ask(adapter, BLUEZ, f"/org/bluez/{adapter}", interface, member, signature, body or [])

    async def get(self, adapter: str, interface: str, name: str) -> Any:
        """A property of an adapter.

        Raises:
            RadioError: by cause.
        """
        [value] = await self.call(adapter, PROPERTIES, "Get", "ss", [interface, name])
        return value.value

    async def owner(self) -> str:
        """The bluetoothd that runs now: another one after each of its starts.

        Raises:
            BluezMissing: none.
        """
        return str((await self._ask("", BUS, BUS_PATH, BUS, "GetNameOwner", "s", [BLUEZ]))[0])

    async def _ask(
        self, adapter: str, destination: str, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> list[Any]:
        message = Message(destination, path, interface, member, signature=signature, body=body)
        try:
            async with asyncio.timeout(ANSWER_S):
                reply = await self.bus.call(message)
        except (TimeoutError, EOFError, OSError) as why:
            raise named(adapter, "NoReply") from why
        if reply is None or reply.message_type is MessageType.ERROR:
            error, detail = ("NoReply", []) if reply is None else (reply.error_name or "", reply.body)
            raise named(adapter, error, " ".join(str(part) for part in detail), member)
        return list(reply.body)

    async def check_power(self, adapter: str) -> None:
        """
        Raises:
            AdapterGone, Blocked, NotPowered, RadioError: the adapter cannot work.
        """
        if await self.get(adapter, ADAPTER, "Powered"):
            return
        try:
            state = await self.get(adapter, ADAPTER, "PowerState")
        except AdapterGone:  # BlueZ before 5.65 has no such property
            state = "off"
        if state == "off-blocked":
            raise Blocked(f"{adapter} is switched off by rfkill: rfkill unblock bluetooth")
        raise NotPowered(f"{adapter} is switched off: bluetoothctl power on")

    async def hears_by_pattern(self, adapter: str) -> bool:
        """Whether BlueZ can scan passively: it has monitors of advertisements, by pattern."""
        try:
            return "or_patterns" in await self.get(adapter, MONITORS, "SupportedMonitorTypes")
        except AdapterGone:  # an unknown interface or property, where the adapter is known to be there
            return False


@asynccontextmanager
async def bluez() -> AsyncIterator[Bluez]:
    """A connection, closed at the end.

    Raises:
        BusMissing, NoPermission: there is no D-Bus, or it does not let the node in.
    """
    try:
        bus = MessageBus(bus_type=BusType.SYSTEM)
        async with asyncio.timeout(ANSWER_S):
            await bus.connect()
    except AuthError as why:
        raise NoPermission("the system's D-Bus does not let the node in: check the user that it runs as") from why
    except (OSError, EOFError, TimeoutError, DBusError, ValueError) as why:
        raise BusMissing(
            "there is no system D-Bus: sudo systemctl start dbus (scanner kind bluepy does without)"
        ) from why
    try:
        yield Bluez(bus)
    finally:
        bus.disconnect()
