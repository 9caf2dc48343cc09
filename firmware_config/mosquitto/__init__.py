"""The configuration of the federation's broker, as production uses it and as a demonstration starts it.

`mosquitto.conf` and `jaga.acl` are complete files with production's paths in them: a field engineer reads, copies and
edits them with no tool. `render` is for programs, which put other values in: it changes settings, never adds one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024), "MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024)}
"""For Mosquitto's process (`Environment=` of a systemd unit). glibc would give the memory of every large message back
to the system, and ask for it anew, page by page, with the next one: with models of 4 MB a third of all its work."""


class UnknownSetting(KeyError):
    """`mosquitto.conf` does not have exactly one line with this setting."""


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """The text of both files."""

    conf: str
    acl: str

    def write(self, folder: Path) -> Path:
        """Write `mosquitto.conf` and `jaga.acl` into `folder`; returns the path of the first.

        Whoever can change these files decides who reads what, so only the owner can.
        """
        for name, text in (("jaga.acl", self.acl), ("mosquitto.conf", self.conf)):
            path = folder / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)
        return folder / "mosquitto.conf"


def render(
    *,
    port: int = 8883,
    bind: str = "0.0.0.0",  # noqa: S104  a broker that nodes cannot reach is no broker; the certificate is the guard
    crl: Path | None = None,
    observer: bool = False,
    settings: Mapping[str, str | Path | int] | None = None,
) -> BrokerFiles:
    """Production's files, with some settings changed.

    Args:
        port: TCP port of the TLS listener.
        bind: address it listens on.
        crl: certificate revocation list; none by default.
        observer: whether a party called `observer` may read everything. For demonstrations only.
        settings: other values of settings that `mosquitto.conf` has, for example `{"cafile": folder / "ca.pem"}`.

    Raises:
        UnknownSetting: a name in `settings` is not in `mosquitto.conf` once.
        ValueError: a value would start a line of its own.
    """
    conf, acl = read("mosquitto.conf"), read("jaga.acl")
    conf = _changed(conf, "listener", f"{port} {bind}")
    if crl is not None:
        conf = _changed(conf.replace("#crlfile ", "crlfile "), "crlfile", crl)
    for name, value in (settings or {}).items():
        conf = _changed(conf, name, value)
    return BrokerFiles(conf, acl + read("observer.acl") if observer else acl)


def read(name: str) -> str:
    """The text of `mosquitto.conf`, `jaga.acl` or `observer.acl` as shipped."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _changed(conf: str, name: str, value: str | Path | int) -> str:
    """`conf` with the one line of setting `name` saying `value`."""
    text = str(value)
    if not text or "\n" in text or "\r" in text:
        raise ValueError(f"the value of {name} must be one line, got {text!r}")
    changed, lines = re.subn(rf"(?m)^(?!#){re.escape(name)} .*$", lambda _: f"{name} {text}", conf)
    if lines != 1:
        raise UnknownSetting(f"mosquitto.conf has {lines} lines with {name!r}, a setting to change must have one")
    return changed
