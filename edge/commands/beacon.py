"""A Raspberry Pi as a tag."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edge.commands.terminal import BAD_CONFIG, err, explained, fail, out
from edge.config import BadConfig, NodeConfig
from edge.sensing.scanner import Trouble
from edge.store.database import Database
from edge.store.tags import SECRET_BYTES, Tags, UnknownLabel


def beacon(
    config: Annotated[
        Path | None, typer.Argument(help="The node.toml whose register has the tag. / node.toml tempat tag terdaftar.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Label of the tag. / Label tag.")] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="In their place: a file with the tag's secret. / Atau berkas rahasia tag.")
    ] = None,
    adapter: Annotated[str, typer.Option(help="Bluetooth adapter. / Adaptor Bluetooth.")] = "hci0",
    tx_power_dbm: Annotated[
        int, typer.Option(min=-127, max=20, help="Radiated power that is told, dBm. / Daya pancar yang disebut, dBm.")
    ] = 0,
) -> None:
    """Advertise a tag from this Pi, until stopped. / Memancarkan tag dari Pi ini, sampai dihentikan."""

    def advertise() -> None:
        from edge.sensing.beacon.beacon import Beacon  # noqa: PLC0415  (the other commands do without D-Bus)
        from edge.sensing.rotating import Rotating  # noqa: PLC0415

        secret = _secret(config, tag, secret_file)
        one = Beacon(adapter, Rotating(secret, "tag", tx_power_dbm), _tell, on_air=_on_air)
        asyncio.run(_until_stopped(one.advertise()))

    try:
        explained(advertise)
    except UnknownLabel as why:
        fail(BAD_CONFIG, why)


def _secret(config: Path | None, tag: str | None, secret_file: Path | None) -> bytes:
    if secret_file is not None and config is None and tag is None:
        try:
            secret = bytes.fromhex(secret_file.read_text("ascii").strip())
        except (OSError, ValueError) as why:
            raise BadConfig(f"{secret_file}: no secret there ({type(why).__name__}); see `jaga-node tags`") from why
        if len(secret) != SECRET_BYTES:
            raise BadConfig(f"{secret_file}: a secret has {2 * SECRET_BYTES} hexadecimal digits, not {2 * len(secret)}")
        return secret
    if config is None or tag is None or secret_file is not None:
        raise BadConfig("give NODE.toml and --tag LABEL, or --secret-file FILE alone")
    loaded = NodeConfig.load(config)
    connection = Database(loaded.store.path, loaded.store_key()).connect()
    try:
        return Tags(connection).get(tag).secret
    finally:
        connection.close()


def _tell(trouble: Trouble) -> None:
    style = "green" if trouble.over else "bold red"
    err.print(f"[{style}]{trouble.error}[/] {escape(trouble.reason)}", soft_wrap=True, highlight=False)


def _on_air(until_s: float) -> None:
    until = datetime.fromtimestamp(until_s).astimezone()
    out.print(f"on the air until / memancar sampai {until:%H:%M:%S}", highlight=False)


async def _until_stopped(advertising: Coroutine[object, object, None]) -> None:
    """Run until SIGINT or SIGTERM; the advertisement is taken off the air first."""
    task = asyncio.create_task(advertising)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
