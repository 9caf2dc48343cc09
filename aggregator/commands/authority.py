"""`authority`: the key that makes members, under a passphrase."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from aggregator.commands.terminal import DEFAULT_CONFIG, ConfigFile, err, explained, out
from aggregator.config import BadConfig, CentralConfig
from privacy.identity.authority import KEY_FILE, CertificateAuthority
from privacy.identity.passphrase import ENCRYPTED_PEM

PASSPHRASE = "JAGA_AUTHORITY_PASSPHRASE"  # noqa: S105  (the name of a variable)
PASSPHRASE_FILE = "JAGA_AUTHORITY_PASSPHRASE_FILE"  # noqa: S105
NEW_PASSPHRASE_FILE = "JAGA_AUTHORITY_NEW_PASSPHRASE_FILE"  # noqa: S105
LEAST_LETTERS = 12

authority = typer.Typer(
    help="The key that makes members. / Kunci yang membuat anggota.",
    no_args_is_help=True,
)


def load_authority(folder: Path) -> CertificateAuthority:
    """The authority, its passphrase from a file, a variable or the person at the terminal.

    Raises:
        BadKey: there is no usable authority, or the passphrase is wrong.
        BadConfig: nobody can be asked for the passphrase.
    """
    if is_encrypted(folder):
        return CertificateAuthority.load(folder, _given() or _asked(f"Passphrase of {folder / KEY_FILE}"))
    loaded = CertificateAuthority.load(folder)
    err.print(
        f"[yellow]{folder / KEY_FILE} is not encrypted: who copies it makes members. Give it a passphrase with "
        "`jaga-central authority encrypt` / kunci belum dienkripsi[/]",
        highlight=False,
    )
    return loaded


def new_passphrase() -> bytes:
    """A passphrase for a new key, from the same places; asked for twice.

    Raises:
        BadConfig: it is too short, or nobody can be asked for it.
    """
    chosen = _given() or _asked("New passphrase of the authority's key / frasa sandi baru", twice=True)
    return _long_enough(chosen)


def is_encrypted(folder: Path) -> bool:
    """Whether the key in `folder` needs a passphrase; False if it cannot be read, which `load` explains."""
    try:
        return ENCRYPTED_PEM in (folder / KEY_FILE).read_bytes()
    except OSError:
        return False


@authority.command()
def encrypt(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Put the authority's key under a passphrase, or under another one. / Mengenkripsi kunci otoritas.

    The old one is asked for, or taken from JAGA_AUTHORITY_PASSPHRASE_FILE; the new one is asked for, or taken from
    JAGA_AUTHORITY_NEW_PASSPHRASE_FILE. Copies of the old file stay as they are: delete them.
    """
    with explained():
        folder = CentralConfig.load(config).authority
        old = (_given() or _asked("Old passphrase / frasa sandi lama")) if is_encrypted(folder) else None
        loaded = CertificateAuthority.load(folder, old)
        file = os.environ.get(NEW_PASSPHRASE_FILE)
        new = _read(Path(file)) if file else _asked("New passphrase / frasa sandi baru", twice=True)
        loaded.save(folder, _long_enough(new))
        out.print(f"[green]✓[/] {folder / KEY_FILE} is encrypted. Delete every older copy, also in backups.")
        out.print("Hapus semua salinan lama, juga di cadangan.")


def _given() -> bytes | None:
    file = os.environ.get(PASSPHRASE_FILE)
    if file:
        return _read(Path(file))
    value = os.environ.get(PASSPHRASE)
    return value.encode() if value else None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes().rstrip(b"\r\n")
    except OSError as why:
        raise BadConfig(f"passphrase file {file} cannot be read: {why}") from why


def _asked(prompt: str, *, twice: bool = False) -> bytes:
    if not sys.stdin.isatty():
        raise BadConfig(
            f"the authority's key has a passphrase, and there is no terminal to ask at: set {PASSPHRASE_FILE} to a "
            "file that holds it"
        )
    answer: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return answer.encode()


def _long_enough(passphrase: bytes) -> bytes:
    if len(passphrase.decode("utf-8", "replace")) < LEAST_LETTERS:
        raise BadConfig(
            f"a passphrase has at least {LEAST_LETTERS} letters: four or five words are better / terlalu pendek"
        )
    return passphrase
