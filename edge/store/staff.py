"""Staff accounts of a node's page, who is signed in, and who failed to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.store.connection import Connection, transaction

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")
LOCKING_FAILURE = 5
"""This failure in a row is the first that locks an account; each one after it locks twice as long."""
FIRST_LOCK_S, LONGEST_LOCK_S = 30.0, 900.0
FORGET_FAILURES_S = 86400.0
MOST_FAILING = 1000
"""Accounts, real ones and others, whose failures are remembered; beyond that the oldest are forgotten."""
SESSIONS_EACH = 10
TOUCH_S = 60.0
"""A session's use is noted at most this often: an SD card wears out."""
CLOCK_SLACK_S = 60.0


class StaffError(ValueError):
    """An account cannot be made, found or changed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """One member of staff; times in seconds since the epoch."""

    name: str
    created_at: float
    changed_at: float


def account_name(typed: str) -> str:
    """The account's name in what was typed: phones begin words with a capital and end them with a space.

    Raises:
        StaffError: that can be no name.
    """
    name = typed.strip().lower()
    if not NAME.fullmatch(name):
        raise StaffError(
            "a staff name has 2 to 32 letters a to z, digits, dots, hyphens or underscores, and begins with a letter "
            "or a digit: choose another"
        )
    return name


@dataclass(frozen=True, slots=True)
class Staff:
    """The accounts. Passwords come and go as PHC strings, never in clear."""

    connection: Connection

    def add(self, name: str, password: str, at: float) -> None:
        """Raises:
        StaffError: the name is taken, or is none.
        """
        with transaction(self.connection):
            if self.password(account_name(name)) is not None:
                raise StaffError(f"{account_name(name)} is there already: choose another name, or set a new password")
            self.connection.execute("INSERT INTO staff VALUES (?, ?, ?, ?)", (account_name(name), password, at, at))

    def set_password(self, name: str, password: str, at: float) -> None:
        """Also ends every session of this account.

        Raises:
            StaffError: nobody has this name.
        """
        with transaction(self.connection):
            self._require(
                self.connection.execute(
                    "UPDATE staff SET password = ?, changed_at = ? WHERE name = ?", (password, at, name)
                ).rowcount,
                name,
            )
            StaffSessions(self.connection).end_all(name)

    def remove(self, name: str) -> None:
        """Also ends every session of this account.

        Raises:
            StaffError: nobody has this name.
        """
        self._require(self.connection.execute("DELETE FROM staff WHERE name = ?", (name,)).rowcount, name)

    def password(self, name: str) -> str | None:
        row = self.connection.execute("SELECT password FROM staff WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def accounts(self) -> list[Account]:
        return [Account(*row) for row in self.connection.execute("SELECT name, created_at, changed_at FROM staff")]

    @staticmethod
    def _require(changed: int, name: str) -> None:
        if changed != 1:
            raise StaffError(f"nobody here is called {name}: `jaga-node staff list` shows all names")


@dataclass(frozen=True, slots=True)
class StaffSessions:
    """Who is signed in; a session is known by the SHA-256 of its token (32 bytes)."""

    connection: Connection

    def open(self, digest: bytes, name: str, at: float) -> None:
        """Sign in; the oldest sessions of an account that has `SESSIONS_EACH` end."""
        with transaction(self.connection):
            self.connection.execute("INSERT INTO staff_sessions VALUES (?, ?, ?, ?)", (digest, name, at, at))
            self.connection.execute(
                "DELETE FROM staff_sessions WHERE digest IN "
                "(SELECT digest FROM staff_sessions WHERE name = ? ORDER BY used_at DESC LIMIT -1 OFFSET ?)",
                (name, SESSIONS_EACH),
            )

    def name(self, digest: bytes, at: float, *, idle_s: float, longest_s: float, touch: bool = True) -> str | None:
        """Whose session this is, or None where there is none any more; one that is over is deleted.

        Args:
            touch: whether this is a use, from which the idle time counts anew.
        """
        row = self.connection.execute(
            "SELECT name, opened_at, used_at FROM staff_sessions WHERE digest = ?", (digest,)
        ).fetchone()
        if row is None:
            return None
        name, opened_at, used_at = row
        # A clock that was set back must not lengthen a session.
        if at > used_at + idle_s or at > opened_at + longest_s or at < used_at - CLOCK_SLACK_S:
            self.end(digest)
            return None
        if touch and at - used_at >= min(TOUCH_S, idle_s / 4):
            self.connection.execute("UPDATE staff_sessions SET used_at = ? WHERE digest = ?", (at, digest))
        return str(name)

    def end(self, digest: bytes) -> None:
        self.connection.execute("DELETE FROM staff_sessions WHERE digest = ?", (digest,))

    def end_all(self, name: str) -> int:
        """Sign an account out everywhere; returns how many sessions ended."""
        return self.connection.execute("DELETE FROM staff_sessions WHERE name = ?", (name,)).rowcount

    def purge(self, before: float) -> int:
        """End the sessions that were last used before, seconds; returns how many ended."""
        return self.connection.execute("DELETE FROM staff_sessions WHERE used_at < ?", (before,)).rowcount

    def count(self, name: str) -> int:
        row = self.connection.execute("SELECT count(*) FROM staff_sessions WHERE name = ?", (name,)).fetchone()
        return int(row[0])


@dataclass(frozen=True, slots=True)
class SignInFailures:
    """Failed sign-ins, by account, and for how long an account lets nobody in.

    An account is known here by 32 bytes made of its name, and those that do not exist are counted like those that do:
    neither an answer nor its time tells which they are.
    """

    connection: Connection

    def count(self, account: bytes, at: float) -> float:
        """Count one more failure, before the password is looked at, so that tries at once are not free.

        Returns:
            0, or for how many seconds this account still lets nobody in; then nothing was counted.
        """
        with transaction(self.connection):
            row = self.connection.execute(
                "SELECT failures, locked_until FROM sign_in_failures WHERE account = ? AND last_at > ?",
                (account, at - FORGET_FAILURES_S),
            ).fetchone()
            failures, locked_until = row or (0, 0.0)
            # More than the longest lock is left only where the clock was set back.
            if 0 < locked_until - at <= LONGEST_LOCK_S:
                return float(locked_until - at)
            failures += 1
            beyond = min(failures - LOCKING_FAILURE, 20)
            lock_s = min(FIRST_LOCK_S * 2**beyond, LONGEST_LOCK_S) if beyond >= 0 else 0.0
            self.connection.execute(
                "INSERT OR REPLACE INTO sign_in_failures VALUES (?, ?, ?, ?)", (account, failures, at, at + lock_s)
            )
            self.connection.execute(
                "DELETE FROM sign_in_failures WHERE last_at <= ? OR account IN "
                "(SELECT account FROM sign_in_failures ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
                (at - FORGET_FAILURES_S, MOST_FAILING),
            )
        return 0.0

    def forgive(self, account: bytes) -> None:
        """The password was right, or an administrator set a new one."""
        self.connection.execute("DELETE FROM sign_in_failures WHERE account = ?", (account,))

    def locked_until(self, account: bytes, at: float) -> float | None:
        """When a locked account lets people in again, seconds since the epoch; None for one that does now."""
        row = self.connection.execute(
            "SELECT locked_until FROM sign_in_failures WHERE account = ?", (account,)
        ).fetchone()
        return float(row[0]) if row and 0 < row[0] - at <= LONGEST_LOCK_S else None
