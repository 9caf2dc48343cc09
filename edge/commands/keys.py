"""`keys`: where the key of the encrypted store comes from, changing that, and changing the key itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edge.commands.terminal import ConfigFile, err, explained, ok, out
from edge.config import NodeConfig
from edge.keys import rotation
from edge.keys.sources import (
    KeyFile,
    KeyUnavailable,
    Passphrase,
    RpiOtp,
    Source,
    SourceName,
    SystemdCredential,
    Tang,
    ask,
)
from edge.keys.wrapped import StoreKeys, WrappedKey
from edge.store.anchor import Anchor
from edge.store.database import Database
from edge.store.trusted_clock import TrustedClock
from privacy.accounting.ledger import PrivacyLedger
from privacy.boundary.audit import AuditLog

PROTECTS: dict[str, str] = {
    "plain file": "a lost copy of the store alone / salinan basis data saja",
    "file": "a lost copy of the store alone / salinan basis data saja",
    "systemd-credential": "a stolen card, where this machine has a TPM; else its host key is on the card too / kartu "
    "dicuri (bila ada TPM)",
    "rpi-otp": "a stolen card; not a stolen Pi / kartu dicuri; bukan Pi dicuri",
    "tang": "a stolen card and a stolen Pi, away from the site's server / kartu dan Pi dicuri, di luar jaringan situs",
    "passphrase": "a stolen card and a stolen Pi that is off / kartu dan Pi yang mati dicuri",
}
keys = typer.Typer(
    name="keys", help="The key of the encrypted store. / Kunci basis data terenkripsi.", no_args_is_help=True
)


@keys.command()
def show(config: ConfigFile) -> None:
    """Where the key comes from, and what that protects against. / Asal kunci dan perlindungannya."""

    def tell() -> None:
        name = source_name(NodeConfig.load(config))
        ok("key source / asal kunci", name)
        ok("protects against / melindungi dari", PROTECTS[name])

    explained(tell)


@keys.command()
def change(
    config: ConfigFile,
    to: Annotated[SourceName, typer.Option(help="The new source. / Sumber baru.")],
    name: Annotated[str, typer.Option(help="systemd-credential: its name in the unit.")] = "jaga-store",
    file: Annotated[
        Path | None, typer.Option(help="file, systemd-credential: where it goes. / Tempat berkas kunci.")
    ] = None,
    url: Annotated[str, typer.Option(help="tang: address of the site's server. / Alamat server Tang.")] = "",
    thumbprint: Annotated[
        str | None, typer.Option(help="tang: of its key, as `tang-show-keys` prints it on the server.")
    ] = None,
) -> None:
    """Wrap the store's key anew, at once and while the node runs. / Ganti sumber kunci, tanpa menghentikan node.

    After a change from a plain file, `keys rotate` too: an SD card may keep deleted bytes.
    """

    def wrap() -> None:
        loaded = NodeConfig.load(config)
        wrapped = WrappedKey(loaded.store.wrapped_key)
        before = wrapped.source() if wrapped.path.exists() else None
        given_before = b"" if before is None else before.key()
        source, given = _made(loaded, to, name, file, url, thumbprint)
        if not isinstance(source, Passphrase) and source.key() != given:
            raise KeyUnavailable("the new source gave another key when it was asked again; run this command once more")
        if before is None:
            wrapped.write(source, given, StoreKeys(loaded.store_key()))
        else:
            rotation.rewrap(wrapped, before, given_before, source, given)
        ok("key source / asal kunci", to)
        ok("protects against / melindungi dari", PROTECTS[to])
        if loaded.store.key_file.exists():
            loaded.store.key_file.unlink()
            out.print(
                f"Removed {loaded.store.key_file}. Now `jaga-node keys rotate {config}`: a card keeps deleted bytes."
            )
            out.print("Lalu jalankan `jaga-node keys rotate`: kartu SD bisa menyimpan data yang sudah dihapus.")

    explained(wrap)


@keys.command()
def rotate(config: ConfigFile) -> None:
    """Give the store a new key; a node that runs does it within a minute. / Ganti kunci basis data.

    A node that runs ends its processes for as long as writing the store anew takes (about a second for 50 MB) and goes
    on; what a radio sends in that time is not heard. Nothing else is lost. With a passphrase somebody has to type it
    then.
    """

    def begin() -> None:
        loaded = NodeConfig.load(config)
        wrapped = WrappedKey(loaded.store.wrapped_key)
        if not wrapped.path.exists():
            raise KeyUnavailable(
                "the key lies in a plain file: give it a source first, `jaga-node keys change NODE.toml --to …`"
            )
        rotation.begin(wrapped)
        ok("new key is ready / kunci baru siap", "the node takes it over within a minute, or when it starts")

    explained(begin)


@keys.command("accept-old-store")
def accept_old_store(
    config: ConfigFile, yes: Annotated[bool, typer.Option("--yes", help="Do not ask. / Tanpa bertanya.")] = False
) -> None:
    """Go on with an old copy of the store, with no budget left for a record lifetime. / Lanjut dengan salinan lama."""

    def accept() -> None:
        loaded = NodeConfig.load(config)
        if not yes and not typer.confirm("Is there really no newer store? / Sungguh tidak ada yang lebih baru?"):
            raise typer.Exit(1)
        key = loaded.store_key()
        connection = Database(loaded.store.path, key).connect()
        AuditLog(connection)
        clock = TrustedClock(connection)
        clock.look()
        PrivacyLedger(connection, loaded.privacy.budget(), clock.now).forfeit("the store was an old copy")
        Anchor(loaded.store.anchor).write(connection)
        connection.close()
        days = loaded.privacy.record_lifetime_days + 1
        until = time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86400))
        err.print(f"This node answers no task before {until}. / Node ini tidak menjawab tugas sebelum {until}.")

    explained(accept)


def source_name(loaded: NodeConfig) -> str:
    """Of the source that is in use."""
    wrapped = WrappedKey(loaded.store.wrapped_key)
    return str(wrapped.source().__struct_config__.tag) if wrapped.path.exists() else "plain file"


def _made(
    loaded: NodeConfig,
    to: SourceName,
    name: str,
    file: Path | None,
    url: str,
    thumbprint: str | None,
) -> tuple[Source, bytes]:
    folder = loaded.store.wrapped_key.parent
    if to == "passphrase":
        words = ask("New passphrase / Kata sandi baru: ")
        source = Passphrase.make(words)
        if ask("Once more / Sekali lagi: ") != words:
            raise KeyUnavailable("the two were not the same / keduanya tidak sama")
        return source, source.key_of(words)
    made: Source
    if to == "file":
        made = KeyFile.make(file or folder / "source.key")
    elif to == "systemd-credential":
        made = SystemdCredential.make(name, file or folder / f"{name}.cred")
    elif to == "rpi-otp":
        made = RpiOtp.make()
    else:
        made = Tang.make(url, thumbprint)
    return made, made.key()
