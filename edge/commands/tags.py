"""The site's register of tags."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from edge.commands.terminal import ConfigFile, explained, fail, ok, out
from edge.config import NodeConfig
from edge.store.calibration import StoredCorrections
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.tags import BadLabel, BadSecret, KnownLabel, Tags, UnknownLabel
from privacy.identity.keys import write_private

WRONG_USAGE = 2

tags = typer.Typer(
    name="tags", help="Tags that this site hands out. / Tag yang dibagikan tempat ini.", no_args_is_help=True
)

Label = Annotated[
    str, typer.Argument(help="A pseudonym, such as tag-07; never a name. / Nama samaran, misalnya tag-07; jangan nama.")
]


@tags.command()
def add(
    config: ConfigFile,
    label: Label,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="64 hexadecimal digits of a tag that has its secret already. / Rahasia tag yang sudah ada."),
    ] = None,
) -> None:
    """Enrol a tag; its secret comes from this machine's own randomness. / Mendaftarkan tag."""

    def enrol(store: Connection) -> None:
        secret = None if secret_file is None else read_secret(secret_file)
        tag = Tags(store).add(label, time.time(), secret)
        ok("tag enrolled / tag didaftarkan", escape(tag.label))

    with_store(config, enrol)


@tags.command("list")
def show(config: ConfigFile) -> None:
    """List the tags; secrets are not shown. / Menampilkan daftar tag."""

    def listed(store: Connection) -> None:
        table = Table("label", "enrolled / terdaftar (UTC)")
        for tag in Tags(store):
            table.add_row(escape(tag.label), f"{datetime.fromtimestamp(tag.enrolled_at, UTC):%Y-%m-%d %H:%M}")
        out.print(table)

    with_store(config, listed)


@tags.command()
def remove(config: ConfigFile, label: Label) -> None:
    """Take a tag out of the register; what was heard of it stays, as a stranger's. / Mengeluarkan tag dari daftar."""

    def forget(store: Connection) -> None:
        Tags(store).remove(label)
        StoredCorrections(store).forget_transmitter(label.strip())
        ok("tag removed / tag dikeluarkan", escape(label))
        out.print("What was heard of it stays until its retention ends; `jaga-node erase --tag` deletes it now.")
        out.print(
            "Catatan sinyalnya tetap ada sampai masa simpan habis; `jaga-node erase --tag` menghapusnya sekarang."
        )

    with_store(config, forget)


@tags.command()
def export(
    config: ConfigFile,
    label: Label,
    file: Annotated[Path, typer.Argument(help="File to make, for the device that advertises. / Berkas untuk tag.")],
) -> None:
    """Write a tag's secret to a file, for the device that will advertise it. / Menulis rahasia tag ke berkas."""

    def write(store: Connection) -> None:
        tag = Tags(store).get(label)
        if file.exists():
            raise BadSecret(f"{file} is there already: choose another name / {file} sudah ada: pilih nama lain")
        write_private(file, tag.secret.hex().encode() + b"\n")
        ok("secret written / rahasia ditulis", escape(str(file)))
        out.print(
            "[bold yellow]Whoever has this file can follow this tag, and can pose as it.[/] Put it on the device, then "
            "delete it here."
        )
        out.print(
            "[bold yellow]Siapa pun yang memegang berkas ini dapat mengikuti dan meniru tag ini.[/] Pindahkan ke "
            "perangkat, lalu hapus di sini."
        )

    with_store(config, write)


def read_secret(file: Path) -> bytes:
    """A tag's secret from a file of 64 hexadecimal digits.

    Raises:
        BadSecret: it holds something else; the message does not say what.
    """
    try:
        return bytes.fromhex(file.read_text("ascii").strip())
    except (OSError, ValueError) as why:
        reason = why.strerror if isinstance(why, OSError) else "it holds something else"
        raise BadSecret(f"{file}: no secret of 64 hexadecimal digits there ({reason}): check the file") from why


def with_store(config: Path, action: Callable[[Connection], None]) -> None:
    """Run `action` on the node's store; whatever staff can mend is one line."""

    def work() -> None:
        loaded = NodeConfig.load(config)
        store = Database(loaded.store.path, loaded.store_key()).connect()
        try:
            action(store)
        except (BadLabel, BadSecret, KnownLabel, UnknownLabel) as why:
            fail(WRONG_USAGE, why)
        finally:
            store.close()

    explained(work)
