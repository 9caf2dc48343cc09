"""Which events of a node's processes are logged, and with which of their fields.

Processes tell the node what they do in events; the node keeps their state for its page in the encrypted store. The log
is outside of the store, its retention and its erasure, so what depends on who was heard, met or traced is not logged:
neither a count of it, nor that such an event happened at all.
"""

from __future__ import annotations

from collections.abc import Mapping

Field = str | int | float | bool | None

LOGGED: Mapping[str, tuple[str, ...]] = {
    "listening": (),
    "done": (),
    "stopped": (),
    "idle": (),
    "failed": ("error", "at"),
    "store_full": (),
    "store_unavailable": (),
    "store_recovered": (),
    "radio_trouble": ("adapter", "error"),
    "radio_recovered": ("adapter",),
    "serving": ("url", "fingerprint"),
    "account_locked": ("for_s",),
    "sign_in_failed": (),
    "request_failed": ("error", "reason"),  # the reason is a place in the code, or a StoreError's
    "turned_away": (),
    "matched": ("batch", "keys"),  # both are in the export that everybody can read
    "refused": ("batch", "reason"),
}
"""Names of fields that are logged, by event. An event that is not here is not logged."""

NOT_LOGGED = frozenset(
    {
        "heard",  # comes when somebody was
        "taken",  # likewise, of a satellite
        "told",  # there was an alert
        "webhook_failed",
        "webhook_recovered",
        "signed_in",  # when staff work
        "password_changed",
    }
)
"""Events that stay between a process, its node and the node's page."""

EXPLAINED = frozenset(
    {
        "AdapterGone",
        "BadCertificate",
        "BadKey",
        "BadListen",
        "BadSettings",
        "Blocked",
        "BluezMissing",
        "BusMissing",
        "CannotListen",
        "CorruptStore",
        "HelperMissing",
        "MissingStore",
        "NewerSchema",
        "NoBluetooth",
        "NoPermission",
        "NotPowered",
        "StoreFull",
        "StoreUnavailable",
        "UnknownZone",
        "UntrustedCertificate",
        "WrongKey",
    }
)
"""Errors whose reason is logged: it names files, ports, adapters and settings. Others may quote what they failed at."""


def logged(event: Mapping[str, Field]) -> dict[str, Field] | None:
    """The fields of an event that are logged; None if the event is not logged."""
    fields = LOGGED.get(str(event.get("event", "")))
    if fields is None:
        return None
    if event.get("error") in EXPLAINED:
        fields = (*fields, "reason")
    return {name: event[name] for name in fields if event.get(name) is not None}
