"""Scanning with bluepy's helper: passive, so nothing that is heard learns of it, and without a daemon.

The helper sets the controller's own legacy scan, 100 % of the time, duplicates included. It reads the first report of
each HCI event and no extended reports (bluepy-helper.c, hci_monitor_cb). Where an adapter is unplugged it says nothing
and goes on, so presence is looked up and every silence is ended by a new scan.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from edge.sensing.advertisement import HEARTBEAT_S
from edge.sensing.hearing import Counts
from edge.sensing.scanners.errors import (
    AdapterGone,
    Blocked,
    HelperStalled,
    NoBluetooth,
    NoPermission,
    NotPowered,
    RadioError,
    ScanEnded,
    ScanRefused,
)
from edge.sensing.scanners.helper import Helper, fields_of, frame_of, installed_helper
from edge.sensing.scanners.radio import Hear

SYSFS = Path("/sys/class/bluetooth")

ADAPTER = re.compile(r"hci(\d+)")

PROBE_S = 5.0
"""After this long without a line, seconds, the helper is asked whether it is still there."""

ANSWER_S = 5.0
"""It has this long, seconds, to answer."""

NEEDED_CAPABILITIES = 1 << 12 | 1 << 13
"""CAP_NET_ADMIN and CAP_NET_RAW (linux/capability.h)."""

INVALID_INDEX, NOT_POWERED, RFKILLED, PERMISSION_DENIED = 0x11, 0x0F, 0x12, 0x14
"""Status codes of the kernel's Bluetooth management interface (BlueZ, doc/mgmt-api.txt)."""


class BluepyEar:
    """One adapter, listened to through bluepy-helper.

    Args:
        adapter: its name, as `hci0`.
        counts: lines that make no sense are counted as malformed.
        executable: the helper; None is the one that bluepy installed.
        sysfs: where the kernel lists adapters.

    Raises:
        ValueError: the name is none of an adapter.
    """

    def __init__(
        self,
        adapter: str,
        counts: Counts,
        *,
        executable: Path | None = None,
        sysfs: Path = SYSFS,
        probe_s: float = PROBE_S,
        answer_s: float = ANSWER_S,
        renew_s: float = HEARTBEAT_S,
    ) -> None:
        name = ADAPTER.fullmatch(adapter)
        if name is None:
            raise ValueError(f"{adapter!r} is no adapter: they are named hci0, hci1, ...")
        self.adapter = adapter
        self._index = int(name[1])
        self._counts = counts
        self._executable = executable
        self._sysfs = sysfs
        self._probe_s = probe_s
        self._answer_s = answer_s
        self._renew_s = renew_s

    async def listen(self, hear: Hear, listening: Callable[[], None]) -> None:
        """See `Ear`.

        Raises:
            RadioError: one of `edge.sensing.scanners.errors`, by cause.
        """
        executable = installed_helper() if self._executable is None else self._executable
        self._look_for_adapter()
        helper = Helper(executable, self._index)
        try:
            await self._ask(helper, "le on", executable)
            await self._ask(helper, "pasv", executable)
            listening()
            await self._hear(helper, hear)
        finally:
            helper.close()

    async def _ask(self, helper: Helper, command: str, executable: Path) -> None:
        """Send a command and wait for its answer; lines after the answer stay in `helper.lines`."""
        helper.tell(command)
        give_up = time.monotonic() + self._answer_s
        while True:
            while helper.lines:
                line = helper.lines.popleft()
                if line.startswith((b"rsp=$mgmt", b"rsp=$err")) and (answer := fields_of(line)):
                    if answer.get("code") != "success":
                        raise self._refusal(answer, executable)
                    return
                self._other(line)
            left_s = give_up - time.monotonic()
            if left_s <= 0 or not await helper.read(left_s):
                raise HelperStalled(f"{self.adapter}: bluepy-helper did not answer `{command}`; it is started again")

    async def _hear(self, helper: Helper, hear: Hear) -> None:
        heard_s, asked = time.monotonic(), False
        while True:
            if helper.lines:
                asked = False
                # Kept apart from the loop's conditions: this runs for every frame.
                while helper.lines:
                    line = helper.lines.popleft()
                    frame = frame_of(line)
                    if frame is None:
                        self._other(line, scanning=True)
                    else:
                        heard_s = time.monotonic()
                        hear(*frame)
            if time.monotonic() - heard_s >= self._renew_s:
                return
            if await helper.read(self._answer_s if asked else self._probe_s):
                continue
            self._look_for_adapter()
            if asked:
                raise HelperStalled(
                    f"{self.adapter}: bluepy-helper has said nothing for {self._probe_s + self._answer_s:g} s and does "
                    "not answer; it is started again"
                )
            asked = True
            helper.tell("stat")

    def _other(self, line: bytes, *, scanning: bool = False) -> None:
        """A line that is no frame."""
        if not line or line.startswith(b"#"):
            return
        fields = fields_of(line)
        if fields is None or line.startswith(b"rsp=$scan"):
            self._counts.malformed += 1
        elif scanning and fields["rsp"] == "stat" and fields.get("state") == "disc":
            raise ScanEnded(
                f"{self.adapter}: another program ended the scan; if this comes again, stop what else uses Bluetooth"
            )

    def _look_for_adapter(self) -> None:
        if not self._sysfs.is_dir():
            raise NoBluetooth(
                "this kernel has no Bluetooth: look for dtoverlay=disable-bt in /boot/firmware/config.txt, and for "
                "`dmesg | grep -i bluetooth`"
            )
        if not (self._sysfs / self.adapter).exists():
            there = ", ".join(sorted(p.name for p in self._sysfs.iterdir() if ADAPTER.fullmatch(p.name))) or "none"
            raise AdapterGone(f"{self.adapter} is not there (adapters: {there}): plug it in, or correct `adapters`")

    def _refusal(self, answer: dict[str, str], executable: Path) -> RadioError:
        """The error that a refused command stands for."""
        code = answer.get("code", "")
        try:
            status = int(answer.get("estat", "0"), 16)
        except ValueError:
            status = 0
        if status == INVALID_INDEX:
            return AdapterGone(f"{self.adapter} is not there: plug it in, or correct `adapters`")
        if status == RFKILLED or self._rfkilled():
            return Blocked(f"{self.adapter} is switched off by rfkill: rfkill unblock bluetooth")
        if status == PERMISSION_DENIED or (code in ("nomgmt", "badstate") and not _may_scan(executable)):
            return NoPermission(
                f"bluepy-helper may not use {self.adapter}: sudo setcap cap_net_raw,cap_net_admin+eip {executable} "
                "(and no NoNewPrivileges= in the service, which takes that right away)"
            )
        if status == NOT_POWERED:
            return NotPowered(f"{self.adapter} is switched off: bluetoothctl power on")
        if code == "nomgmt":
            return NoBluetooth(
                "bluepy-helper cannot reach the kernel's Bluetooth: modprobe bluetooth, or let the service use "
                "AF_BLUETOOTH (RestrictAddressFamilies)"
            )
        reason = answer.get("emsg") or code
        return ScanRefused(
            f"{self.adapter} does not scan ({reason}): switch it on (bluetoothctl power on), and stop what else scans; "
            "it is reset if this goes on"
        )

    def _rfkilled(self) -> bool:
        switches = (self._sysfs / self.adapter).glob("rfkill*/[sh]*")
        return any(s.name in ("soft", "hard") and s.read_text().strip() == "1" for s in switches)


def _may_scan(executable: Path) -> bool:
    """Whether the helper gets the rights that it needs: root's, or its own capabilities."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if os.geteuid() == 0 or int(status["CapAmb"], 16) & NEEDED_CAPABILITIES == NEEDED_CAPABILITIES:
        return True
    try:
        return bool(os.getxattr(executable, "security.capability")) and status["NoNewPrivs"] == "0"
    except OSError:
        return False
