"""A stand-in for bluetoothd on a private, real D-Bus: adapters, discovery, monitors and advertisements.

It runs in a thread of the test. Like BlueZ it tells what it understood of a frame and never its bytes, hands frames on
only to those that scan, by pattern to those that scan passively, and asks an advertisement's owner for its properties.
"""

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

ADAPTER = "org.bluez.Adapter1"
MONITORS = "org.bluez.AdvertisementMonitorManager1"
ADVERTISING = "org.bluez.LEAdvertisingManager1"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECTS = "org.freedesktop.DBus.ObjectManager"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={socket}</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy>
</busconfig>"""


@contextmanager
def private_bus(folder: Path) -> Iterator[str]:
    """A `dbus-daemon` of the test's own; yields its address."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("no dbus-daemon: apt-get install dbus")
    (folder / "bus.conf").write_text(CONFIG.format(socket=folder / "bus"))
    command = ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--print-address"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield daemon.stdout.readline().strip()
    finally:
        daemon.terminate()
        daemon.wait()
        daemon.stdout.close()


@dataclass
class Adapter:
    powered: bool = True
    monitors: bool = True
    deaf: bool = False  # the kernel knows no monitors, and BlueZ takes them all the same
    refuse: str = ""  # a D-Bus error name for the next StartDiscovery, RegisterMonitor or RegisterAdvertisement
    discovering: set[str] = field(default_factory=set)
    filters: list[dict[str, Any]] = field(default_factory=list)
    patterns: dict[str, list[tuple[int, int, bytes]]] = field(default_factory=dict)
    advertisements: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def interfaces(self) -> dict[str, dict[str, Variant]]:
        interfaces = {
            ADAPTER: {
                "Address": Variant("s", "00:00:5E:00:53:00"),
                "Powered": Variant("b", self.powered),
                "PowerState": Variant("s", "on" if self.powered else "off"),
                "Discovering": Variant("b", bool(self.discovering)),
                "Roles": Variant("as", ["central", "peripheral"]),
            },
            ADVERTISING: {
                "ActiveInstances": Variant("y", len(self.advertisements)),
                "SupportedInstances": Variant("y", 5 - len(self.advertisements)),
            },
        }
        if self.monitors:
            interfaces[MONITORS] = {"SupportedMonitorTypes": Variant("as", ["or_patterns"])}
        return interfaces


class BluezDouble:
    """bluetoothd, as far as a scanner and a beacon see it. All of its methods may be called from any thread.

    Attributes:
        adapters: by name.
        registered: the properties of every advertisement that was ever registered, in order.
    """

    def __init__(self, address: str, adapters: tuple[str, ...] = ("hci0",)) -> None:
        self.adapters = {name: Adapter() for name in adapters}
        self.registered: list[dict[str, Any]] = []
        self._address = address
        self._devices: dict[str, dict[str, Variant]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task] = set()

    def __enter__(self) -> "BluezDouble":
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.quit()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def quit(self) -> None:
        """bluetoothd ends."""

        async def leave() -> None:
            if self._bus.connected:
                self._bus.disconnect()
                await self._bus.wait_for_disconnect()

        self._run(leave())

    def power(self, adapter: str, powered: bool) -> None:
        self.adapters[adapter].powered = powered

    def unplug(self, adapter: str) -> None:
        async def gone() -> None:
            left = self.adapters.pop(adapter)
            await self._signal("/", OBJECTS, "InterfacesRemoved", "oas", [_path(adapter), list(left.interfaces)])

        self._run(gone())

    def plug_in(self, adapter: str) -> None:
        async def there() -> None:
            self.adapters[adapter] = new = Adapter()
            await self._signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", [_path(adapter), new.interfaces])

        self._run(there())

    def restart(self) -> None:
        """bluetoothd ends and another one starts."""
        self.quit()
        for adapter in self.adapters.values():
            adapter.patterns.clear()
            adapter.discovering.clear()
        self._run(self._start())

    def scanning(self, adapter: str) -> bool:
        one = self.adapters.get(adapter)
        return one is not None and bool(one.discovering or one.patterns)

    def on_air(self, adapter: str, ad: bytes, rssi_dbm: int, device: str = "00_00_5E_00_53_01") -> bool:
        """A frame reaches the adapter; whether it was handed on."""
        return self._run(self._frame(adapter, ad, rssi_dbm, device))

    async def _frame(self, name: str, ad: bytes, rssi_dbm: int, device: str) -> bool:
        adapter = self.adapters[name]
        structures = list(_structures(ad))
        wanted = any(
            kind == wanted_kind and value[start : start + len(content)] == content
            for patterns in adapter.patterns.values()
            for start, wanted_kind, content in patterns
            for kind, value in structures
        )
        if not adapter.powered or not (adapter.discovering or wanted):
            return False
        path = f"{_path(name)}/dev_{device}"
        changed = {"RSSI": Variant("n", rssi_dbm), **_understood(structures)}
        known = path in self._devices
        self._devices.setdefault(path, {}).update(changed)
        if known:
            await self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", ["org.bluez.Device1", changed, []])
        else:
            address = device.replace("_", ":")
            self._devices[path] |= {
                "Adapter": Variant("o", _path(name)),
                "Address": Variant("s", address),
                "Alias": Variant("s", address.replace(":", "-")),
                "Connected": Variant("b", False),
            }
            added = [path, {"org.bluez.Device1": self._devices[path]}]
            await self._signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", added)
        return True

    def _run(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _start(self) -> None:
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._answer)
        await self._bus.request_name("org.bluez")

    async def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        await self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def _answer(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if message.path == "/" and message.member == "GetManagedObjects":
            objects = {_path(name): adapter.interfaces for name, adapter in self.adapters.items()}
            objects |= {path: {"org.bluez.Device1": props} for path, props in self._devices.items()}
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [objects])
        adapter = self.adapters.get(message.path.rpartition("/")[2])
        if adapter is None:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "no such object")
        if message.member == "Get":
            interface, name = message.body
            value = adapter.interfaces.get(interface, {}).get(name)
            if value is None:
                return Message.new_error(message, "org.freedesktop.DBus.Error.InvalidArgs", "no such property")
            return Message.new_method_return(message, "v", [value])
        return self._method(adapter, message)

    def _method(self, adapter: Adapter, message: Message) -> Message | bool:
        starts = message.member in ("StartDiscovery", "RegisterMonitor", "RegisterAdvertisement")
        if starts and not adapter.powered:
            return Message.new_error(message, "org.bluez.Error.NotReady", "Resource Not Ready")
        if starts and adapter.refuse:
            return Message.new_error(message, adapter.refuse, "refused")
        methods: dict[str, Callable[[], object]] = {
            "SetDiscoveryFilter": lambda: adapter.filters.append(message.body[0]),
            "StartDiscovery": lambda: adapter.discovering.add(message.sender),
            "StopDiscovery": lambda: adapter.discovering.discard(message.sender),
            "RegisterMonitor": lambda: self._later(self._take_monitor(adapter, message)),
            "UnregisterMonitor": lambda: adapter.patterns.pop(message.body[0], None),
            "UnregisterAdvertisement": lambda: adapter.advertisements.pop(message.body[0], None),
        }
        if message.member == "RegisterAdvertisement":
            # Answered when its properties were read, as BlueZ does.
            self._later(self._take_advertisement(adapter, message))
            return True
        if message.member not in methods or (message.member == "RegisterMonitor" and not adapter.monitors):
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "no such method")
        methods[message.member]()
        return Message.new_method_return(message)

    def _later(self, what: Any) -> None:
        task = self._loop.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _properties(self, message: Message, interface: str) -> dict[str, Any]:
        call = Message(
            destination=message.sender,
            path=message.body[0],
            interface=PROPERTIES,
            member="GetAll",
            signature="s",
            body=[interface],
        )
        reply = await self._bus.call(call)
        if reply.message_type is MessageType.ERROR:
            raise RuntimeError(f"{interface} at {message.body[0]}: {reply.body}")
        return {name: value.value for name, value in reply.body[0].items()}

    async def _take_monitor(self, adapter: Adapter, message: Message) -> None:
        await asyncio.sleep(0.02)  # bleak exports its monitor after it was registered
        patterns = (await self._properties(message, "org.bluez.AdvertisementMonitor1"))["Patterns"]
        adapter.patterns[message.body[0]] = (
            [] if adapter.deaf else [(start, kind, bytes(content)) for start, kind, content in patterns]
        )

    async def _take_advertisement(self, adapter: Adapter, message: Message) -> None:
        properties = await self._properties(message, "org.bluez.LEAdvertisement1")
        adapter.advertisements[message.body[0]] = properties
        self.registered.append(properties)
        await self._bus.send(Message.new_method_return(message))


def _path(adapter: str) -> str:
    return f"/org/bluez/{adapter}"


def _structures(ad: bytes) -> Iterator[tuple[int, bytes]]:
    while ad and ad[0]:
        yield ad[1], ad[2 : ad[0] + 1]
        ad = ad[ad[0] + 1 :]


def _understood(structures: list[tuple[int, bytes]]) -> dict[str, Variant]:
    base = "-0000-1000-8000-00805f9b34fb"
    service = {f"0000{v[1::-1].hex()}{base}": Variant("ay", v[2:]) for k, v in structures if k == 0x16}
    maker = {int.from_bytes(v[:2], "little"): Variant("ay", v[2:]) for k, v in structures if k == 0xFF}
    understood = {"ServiceData": Variant("a{sv}", service)} if service else {}
    return understood | ({"ManufacturerData": Variant("a{qv}", maker)} if maker else {})
