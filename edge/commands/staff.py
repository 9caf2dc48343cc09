"""Who may read the node's page."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from edge.commands.terminal import ConfigFile, explained, fail, ok, out
from edge.config import NodeConfig
from edge.page.passwords import WeakPassword, check_strength, hashed
from edge.page.secret import account_mark, page_secret
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.staff import SignInFailures, Staff, StaffError, StaffSessions, account_name

WRONG_USAGE = 2

staff = typer.Typer(name="staff", help="Accounts for the node's page. / Akun untuk halaman node.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name to sign in with: a to z, digits, . - _ / Nama untuk masuk.")]


@staff.command()
def add(config: ConfigFile, name: Name) -> None:
    """Add an account; the password is asked twice, or read from standard input. / Menambah akun."""

    def make(store: Connection) -> None:
        called = account_name(name)
        if Staff(store).password(called) is not None:
            raise StaffError(f"{called} is there already: `jaga-node staff password` sets a new password")
        Staff(store).add(called, _new_password(called), time.time())
        ok("account added / akun ditambahkan", called)

    _with_store(config, make)


@staff.command()
def password(config: ConfigFile, name: Name) -> None:
    """Set a new password, end all sessions, and unlock. / Mengganti kata sandi dan membuka kunci."""

    def change(store: Connection) -> None:
        called = account_name(name)
        if Staff(store).password(called) is None:
            raise StaffError(f"nobody here is called {called}: `jaga-node staff list` shows all names")
        Staff(store).set_password(called, _new_password(called), time.time())
        SignInFailures(store).forgive(account_mark(page_secret(store), called))
        ok("password set, all sessions ended / kata sandi diganti, semua sesi berakhir", called)

    _with_store(config, change)


@staff.command()
def remove(config: ConfigFile, name: Name) -> None:
    """Remove an account and end its sessions. / Menghapus akun dan mengakhiri sesinya."""

    def take(store: Connection) -> None:
        Staff(store).remove(account_name(name))
        ok("account removed / akun dihapus", account_name(name))

    _with_store(config, take)


@staff.command("list")
def everybody(config: ConfigFile) -> None:
    """All accounts, and which of them are locked. / Semua akun, dan mana yang terkunci."""

    def show(store: Connection) -> None:
        secret, now = page_secret(store), time.time()
        table = Table(
            "name / nama", "since / sejak", "password of / kata sandi", "signed in / masuk", "locked until / terkunci"
        )
        for account in Staff(store).accounts():
            until = SignInFailures(store).locked_until(account_mark(secret, account.name), now)
            table.add_row(
                account.name,
                _day(account.created_at),
                _day(account.changed_at),
                str(StaffSessions(store).count(account.name)),
                "-" if until is None else f"{datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC",
            )
        out.print(table)

    _with_store(config, show)


def _with_store(config: ConfigFile, action: Callable[[Connection], None]) -> None:
    def act() -> None:
        loaded = NodeConfig.load(config)
        store = Database(loaded.store.path, loaded.store_key()).connect()
        try:
            action(store)
        except (StaffError, WeakPassword) as why:
            fail(WRONG_USAGE, why)
        finally:
            store.close()

    explained(act)


def _new_password(name: str) -> str:
    """The PHC string of a password that was typed twice, or that is the first line of standard input."""
    if sys.stdin.isatty():
        typed = str(typer.prompt("Password / Kata sandi", hide_input=True, confirmation_prompt=True))
    else:
        typed = sys.stdin.readline().rstrip("\r\n")
    check_strength(typed, name)
    return hashed(typed)


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
