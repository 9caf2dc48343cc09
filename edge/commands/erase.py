"""Erasing all that this node holds of one person's tag, with a receipt for them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edge.commands.tags import read_secret
from edge.commands.terminal import TAMPERED, ConfigFile, explained, fail, ok, out
from edge.config import NodeConfig
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.erasure import Erasure, Subject
from edge.store.receipts import BadReceipt, Receipts, SignedReceipt, key_of, read, verified
from edge.store.tags import BadLabel, BadSecret, Tags, UnknownLabel
from privacy.identity.authority import Identity
from privacy.identity.keys import write_private
from privacy.journal import BrokenChain

WRONG_USAGE = 2
IDENTIFIER_DIGITS = 32


def erase(
    config: ConfigFile,
    *,
    tag: Annotated[str | None, typer.Option(help="Label of the tag. / Label tag.")] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="Secret of a tag that is not in the register. / Rahasia tag di luar daftar.")
    ] = None,
    identifier: Annotated[
        list[str] | None,
        typer.Option(help="One identifier, 32 hexadecimal digits; several times. / Satu pengenal; boleh berulang."),
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option(help="File for the receipt. / Berkas tanda terima.", show_default=False)
    ] = None,
    finish: Annotated[
        int | None, typer.Option(help="Overwrite what receipt N deleted. / Menyelesaikan penghapusan N.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Check a receipt instead. / Memeriksa tanda terima.", metavar="RECEIPT")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. / Jangan bertanya.")] = False,
) -> None:
    """Delete all that this node holds of a tag, overwrite it, and sign for it. / Menghapus semua data satu tag."""

    def work() -> None:
        loaded = NodeConfig.load(config)
        identity = Identity.load(loaded.credentials)
        store = Database(loaded.store.path, loaded.store_key()).connect()
        try:
            if verify is not None:
                _check(store, identity, read(verify), secret_file, identifier or [])
                return
            if receipt is None:
                raise BadSecret(
                    "say where the receipt goes: --receipt FILE / tulis tempat tanda terima: --receipt BERKAS"
                )
            if receipt.exists():
                raise BadSecret(f"{receipt} is there already: choose another name / sudah ada: pilih nama lain")
            if finish is None:
                subject = _subject(store, tag, secret_file, identifier or [])
                _confirm(subject, yes)
                signed = Erasure(store).erase(subject, identity, time.time())
            else:
                signed = Erasure(store).finish(finish)
            write_private(receipt, signed.encode())
            out.print(signed.text, highlight=False)
            ok("receipt / tanda terima", escape(str(receipt)))
        except (BadLabel, BadSecret, UnknownLabel) as why:
            fail(WRONG_USAGE, why)
        except (BadReceipt, BrokenChain) as why:
            fail(TAMPERED, why)
        finally:
            store.close()

    explained(work)


def _subject(store: Connection, tag: str | None, secret_file: Path | None, identifier: list[str]) -> Subject:
    """Who is meant; exactly one way of saying it.

    Raises:
        BadSecret: none, several, or one that cannot be read.
        UnknownLabel: with similar ones.
    """
    if sum((tag is not None, secret_file is not None, bool(identifier))) != 1:
        raise BadSecret(
            "say whose data to erase in one way: --tag LABEL, --secret-file FILE, or --identifier HEX / sebutkan "
            "dengan satu cara: --tag, --secret-file, atau --identifier"
        )
    if tag is not None:
        return Subject.of(Tags(store).get(tag))
    if secret_file is not None:
        secret = read_secret(secret_file)
        enrolled = next((one for one in Tags(store) if one.secret == secret), None)
        return Subject(secret=secret) if enrolled is None else Subject.of(enrolled)
    return Subject(identifiers=_identifiers(identifier))


def _identifiers(given: list[str]) -> frozenset[bytes]:
    for one in given:
        if len(one) != IDENTIFIER_DIGITS or not set(one.lower()) <= set("0123456789abcdef"):
            raise BadSecret(
                f"an identifier has {IDENTIFIER_DIGITS} hexadecimal digits, this one {len(one)} characters: check it / "
                f"pengenal terdiri dari {IDENTIFIER_DIGITS} digit heksadesimal: periksa lagi"
            )
    return frozenset(bytes.fromhex(one) for one in given)


def _confirm(subject: Subject, yes: bool) -> None:
    whose = f"tag {subject.label!r}" if subject.label else "this secret or these identifiers"
    if not yes:
        typer.confirm(
            f"Erase all that this node holds of {whose}? It cannot be undone. / "
            "Hapus semua datanya dari node ini? Ini tidak dapat dibatalkan.",
            abort=True,
        )


def _check(
    store: Connection, identity: Identity, signed: SignedReceipt, secret_file: Path | None, identifier: list[str]
) -> None:
    """Show what a receipt proves.

    Raises:
        BadReceipt: it does not hold, or it is about somebody else.
        BrokenChain: this node's journal was tampered with.
    """
    receipt, certificate = verified(signed, identity.anchor)
    ok("signature / tanda tangan", f"{certificate.party}, {datetime.fromtimestamp(receipt.at, UTC):%Y-%m-%d %H:%M} UTC")
    if certificate.party == identity.party:
        count, _ = Receipts(store).verify()
        if not Receipts(store).has(signed):
            raise BadReceipt(
                "signed by this node, but not in its journal: the store was put back to an older state, or the journal "
                "was lost / ditandatangani node ini, tetapi tidak ada di jurnalnya"
            )
        ok("in this node's journal / tercatat di jurnal node ini", f"{receipt.row} of / dari {count}")
    if secret_file is not None or identifier:
        key = read_secret(secret_file) if secret_file is not None else key_of(_identifiers(identifier))
        if not receipt.is_about(key):
            raise BadReceipt(
                "the receipt holds, but it is about another tag / tanda terima sah, tetapi tentang tag yang lain"
            )
        ok("about this tag / tentang tag ini", "yes / ya")
    out.print(receipt.text, highlight=False)
