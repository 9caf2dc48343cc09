"""Why an adapter does not listen. Each message says what happened and what to do, and never holds a device address."""

from __future__ import annotations

from typing import ClassVar


class RadioError(Exception):
    """One adapter cannot listen for now; it is tried again after a pause."""

    reset_may_help: ClassVar[bool] = False


class NoBluetooth(RadioError):
    """The kernel has no Bluetooth, or the node may not see it."""


class AdapterGone(RadioError):
    """The adapter is not there: unplugged, or named otherwise."""


class NotPowered(RadioError):
    """The adapter is switched off."""


class Blocked(RadioError):
    """The adapter is switched off by rfkill."""


class NoPermission(RadioError):
    """The node may not use the adapter."""


class HelperMissing(RadioError):
    """bluepy-helper is not where bluepy should have put it, or cannot be run."""


class HelperDied(RadioError):
    """bluepy-helper ended by itself."""

    reset_may_help = True


class HelperStalled(RadioError):
    """bluepy-helper does not answer."""

    reset_may_help = True


class ScanRefused(RadioError):
    """The adapter is there and does not scan."""

    reset_may_help = True


class ScanEnded(RadioError):
    """Another program ended the scan."""


class AdvertisingRefused(RadioError):
    """The adapter is there and does not advertise."""


class BusMissing(RadioError):
    """There is no D-Bus to reach BlueZ by."""


class BluezMissing(RadioError):
    """bluetoothd does not run."""
