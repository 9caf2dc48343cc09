"""The time that the ledger, retention and the reading of records go by; setting the wall clock does not move it.

It runs with the monotonic clock and never goes back. The wall clock moves it forward only once it has stayed ahead:

- a wall clock that is **ahead** is followed after an hour in which something kept it synchronized, or after a day in
  which nothing did. What counts is the least by which it was ahead all that time, so a clock that shows next year for
  a minute moves nothing. The hours add up over restarts and power cuts;
- a wall clock that is **behind** is not followed; time goes on with the monotonic clock;
- after a boot, time goes on from where it was last stored, or from the wall clock if that is ahead by an hour at most;
- in a store without any record the wall clock is followed at once, until it is trusted for the first time.

So time can be behind the truth (by what the machine was off, for an hour or a day), which keeps records a little
longer; it is ahead of it only if a wrong clock was left alone for that long.

The wall clock itself is **trusted** once something has synchronized it since the boot, or, in a building without any
time server, if nobody has set it for a day, it was not behind at the boot, and it is not ahead.

When a jump is followed, everything older ages by it, as it should: the machine was off. What was logged since the boot,
or since the wall clock went ahead, is as old as before: it is dated anew together with the clock, unless the ledger has
an entry made since, which may have read it. Such a record keeps its date, or it could be read again once that entry no
longer counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edge.store.connection import Connection, transaction
from edge.store.guesses import boot_id
from edge.store.machine_clock import JUMP_S, synchronized
from edge.store.meta import Meta
from edge.store.slots import DAY_S

HOUR_S = 3600.0
AHEAD_SYNCHRONIZED_S = HOUR_S
"""A synchronized wall clock that is ahead for this long is followed."""
AHEAD_UNSYNCHRONIZED_S = float(DAY_S)
"""The same for one that nothing synchronizes."""
BOOT_GAP_S = HOUR_S
"""After a boot, a wall clock that is ahead by no more than this is followed at once."""
STEADY_S = float(DAY_S)
"""A wall clock that nobody has set for this long is trusted, although nothing synchronizes it."""
LONGEST_LOOK_S = 600.0
"""Between two looks at most this much counts as seen, seconds."""
LOOK_EVERY_S = 60.0
STATE = "trusted clock"

DATED = (
    ("sightings", "logged_at"),
    ("listened", "first_logged_at"),
    ("guessed_stretches", "logged_at"),
    ("calibration_sessions", "logged_at"),
)
"""What is dated by this clock: tables of records and the column."""


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the clock stood at the last look.

    Attributes:
        at: the time then, seconds since the epoch.
        monotonic_s, wall_s: the machine's two clocks then.
        steady_from_s: monotonic time since when nobody has set the wall clock.
        lead_s: by how much the time was ahead of the wall clock.
        behind: whether the wall clock was behind at the boot, and was not set since.
        synchronized: whether something has synchronized the wall clock since the boot.
        established: whether the wall clock was ever trusted, or the store was older than this clock.
        floating_from: what was logged later is dated anew when a jump is followed; None if nothing is.
        ahead_s: the least by which the wall clock was ahead since it is; 0 if it is not.
        ahead_for_s, ahead_synchronized_for_s: for how long that was seen, and seen while it was synchronized.
    """

    boot: str
    at: float
    monotonic_s: float
    wall_s: float
    steady_from_s: float
    lead_s: float = 0.0
    behind: bool = False
    synchronized: bool = False
    established: bool = False
    floating_from: float | None = None
    ahead_s: float = 0.0
    ahead_for_s: float = 0.0
    ahead_synchronized_for_s: float = 0.0

    @property
    def trusted(self) -> bool:
        steady = not self.behind and self.monotonic_s - self.steady_from_s >= STEADY_S
        return not self.ahead_s and (self.synchronized or steady)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of the clock.

    Attributes:
        trusted: whether the wall clock is.
        jumped: whether the wall clock is ahead, and not followed yet.
        reason: for a technician, in English; "" for a trusted clock.
    """

    trusted: bool
    jumped: bool
    reason: str


class TrustedClock:
    """The clock of one store; each process may have one.

    Args:
        monotonic: seconds; nobody sets it.
        wall: seconds since the epoch.
        synchronized: whether something keeps the wall clock right.
        boot: which boot of the machine this is; None asks the kernel.
    """

    def __init__(
        self,
        connection: Connection,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        synchronized: Callable[[], bool] = synchronized,
        boot: str | None = None,
    ) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._wall = wall
        self._synchronized = synchronized
        self._boot = boot_id() if boot is None else boot

    def now(self) -> float:
        """Seconds since the epoch; only reads. Before the first look of a boot it stands where it was stored."""
        state = self._load()
        if state is None:
            return self._wall()
        return self._run_on(state) if state.boot == self._boot else state.at

    def look(self) -> float:
        """Look at the wall clock, store how the clock stands, and return the time. The node does it every minute.

        Raises:
            StoreFull, StoreUnavailable: nothing has changed.
        """
        with transaction(self._connection):
            wall_s, monotonic_s, now_synchronized = self._wall(), self._monotonic(), self._synchronized()
            before = self._load()
            if before is None:
                state = self._first(wall_s, monotonic_s)
            elif before.boot != self._boot:
                state = self._booted(before, wall_s, monotonic_s)
            else:
                state = self._moved(before, wall_s, monotonic_s)
            state = msgspec.structs.replace(state, synchronized=state.synchronized or now_synchronized)
            seen_s = 0.0
            if before is not None and before.boot == self._boot:
                seen_s = min(max(monotonic_s - before.monotonic_s, 0.0), LONGEST_LOOK_S)
            state = self._judged(state, seen_s, now_synchronized)
            Meta(self._connection).set(STATE, msgspec.json.encode(state))
        return state.at

    def verdict(self) -> Verdict:
        """What the last look found."""
        state = self._load()
        if state is None or state.boot != self._boot:
            return Verdict(False, False, "the clock was not looked at since the boot")
        if state.ahead_s:
            return Verdict(
                False,
                True,
                f"the wall clock is ahead by {_span(state.ahead_s)}; it is followed once it has been for "
                f"{_span(AHEAD_SYNCHRONIZED_S)} if synchronized, {_span(AHEAD_UNSYNCHRONIZED_S)} if not (so far "
                f"{_span(state.ahead_for_s)}); until then records are kept and deleted by the time before",
            )
        if state.trusted:
            return Verdict(True, False, "")
        if state.behind:
            reason = "the wall clock is behind the last record: set it, or connect a time server"
        else:
            reason = f"nothing synchronizes the wall clock; it is trusted once it is steady for {_span(STEADY_S)}"
        return Verdict(False, False, reason)

    def vouches_for(self, boot: str, offset_s: float) -> bool:
        """Whether a wall clock is trusted that has this offset to the monotonic clock, seconds, in this boot."""
        state = self._load()
        if state is None or boot != state.boot or not state.trusted:
            return False
        return abs(state.wall_s - state.monotonic_s - offset_s) <= JUMP_S

    def date(self) -> float:
        """The time that calendar days are counted by, seconds: the wall clock if it is trusted, and never later than
        `now`."""
        state, now = self._load(), self.now()
        trusted = state is not None and state.boot == self._boot and state.trusted
        return min(self._wall(), now) if trusted else now

    def _load(self) -> _State | None:
        stored = Meta(self._connection).get(STATE)
        return None if stored is None else msgspec.json.decode(stored, type=_State)

    def _run_on(self, state: _State) -> float:
        return state.at + max(0.0, self._monotonic() - state.monotonic_s)

    def _first(self, wall_s: float, monotonic_s: float) -> _State:
        """A store that never had this clock: time goes on from its newest row that is not in the future."""
        newest = max(self._last_entry(), self._newest_record(wall_s))
        state = _State(self._boot, newest or wall_s, monotonic_s, wall_s, monotonic_s, established=newest > 0)
        return self._booted(state, wall_s, monotonic_s)

    def _booted(self, before: _State, wall_s: float, monotonic_s: float) -> _State:
        floor = max(before.at, self._last_entry())
        at = wall_s if floor < wall_s <= floor + BOOT_GAP_S else floor
        return msgspec.structs.replace(
            before,
            boot=self._boot,
            at=at,
            monotonic_s=monotonic_s,
            wall_s=wall_s,
            steady_from_s=monotonic_s,
            behind=wall_s < floor - before.lead_s - LOOK_EVERY_S,
            synchronized=False,
            floating_from=at,
        )

    def _moved(self, before: _State, wall_s: float, monotonic_s: float) -> _State:
        passed_s = max(monotonic_s - before.monotonic_s, 0.0)
        was_set = abs(wall_s - before.wall_s - passed_s) > JUMP_S
        return msgspec.structs.replace(
            before,
            at=before.at + passed_s,
            monotonic_s=monotonic_s,
            wall_s=wall_s,
            steady_from_s=monotonic_s if was_set else before.steady_from_s,
            behind=before.behind and not was_set,
        )

    def _judged(self, state: _State, seen_s: float, now_synchronized: bool) -> _State:
        ahead_s = state.wall_s - state.at
        if 0 < ahead_s <= JUMP_S:
            state = msgspec.structs.replace(state, at=state.wall_s)
        elif ahead_s > JUMP_S and not state.established:
            state = self._followed(state, ahead_s)
        elif ahead_s > JUMP_S and not state.ahead_s:
            floating_from = state.at if state.floating_from is None else state.floating_from
            return _ahead(state, ahead_s, floating_from=floating_from)
        elif ahead_s > JUMP_S:
            least_s = min(state.ahead_s, ahead_s)
            for_s = state.ahead_for_s + seen_s
            synchronized_for_s = state.ahead_synchronized_for_s + (seen_s if now_synchronized else 0.0)
            state = _ahead(state, least_s, for_s, synchronized_for_s, floating_from=state.floating_from)
            if for_s < AHEAD_UNSYNCHRONIZED_S and synchronized_for_s < AHEAD_SYNCHRONIZED_S:
                return state
            state = self._followed(state, least_s)
            if ahead_s - least_s > JUMP_S:
                return _ahead(state, ahead_s - least_s, floating_from=state.floating_from)
        state = _ahead(state, 0.0, floating_from=state.floating_from)
        if not state.trusted:
            return state
        lead_s = max(0.0, state.at - state.wall_s)
        return msgspec.structs.replace(state, floating_from=None, established=True, lead_s=lead_s)

    def _followed(self, state: _State, by_s: float) -> _State:
        """The time goes forward, and with it what was logged since it is uncertain and was never paid for."""
        floating_from = state.floating_from
        if floating_from is not None:
            unread_from = max(floating_from, self._last_entry())
            for table, column in DATED:
                self._connection.execute(
                    f"UPDATE {table} SET {column} = {column} + ? WHERE {column} > ?",  # noqa: S608 - our own names
                    (by_s, unread_from),
                )
            floating_from += by_s
        return msgspec.structs.replace(state, at=state.at + by_s, floating_from=floating_from)

    def _last_entry(self) -> float:
        """When the ledger's last row was written; 0 if there is none."""
        made = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'privacy_ledger'").fetchone()
        if made is None:
            return 0.0
        last = self._connection.execute("SELECT at FROM privacy_ledger ORDER BY row DESC LIMIT 1").fetchone()
        return 0.0 if last is None else float(last[0])

    def _newest_record(self, until_s: float) -> float:
        """When the last record was logged, those in the future left out; 0 if there is none."""
        newest = 0.0
        for table, column in DATED:
            query = f"SELECT coalesce(max({column}), 0) FROM {table} WHERE {column} <= ?"  # noqa: S608 - our own names
            newest = max(newest, float(self._connection.execute(query, (until_s,)).fetchone()[0]))
        return newest


def _ahead(
    state: _State, ahead_s: float, for_s: float = 0.0, synchronized_for_s: float = 0.0, *, floating_from: float | None
) -> _State:
    return msgspec.structs.replace(
        state,
        ahead_s=ahead_s,
        ahead_for_s=for_s,
        ahead_synchronized_for_s=synchronized_for_s,
        floating_from=floating_from,
    )


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY_S:
        return f"{seconds / DAY_S:.0f} days"
    return f"{seconds / HOUR_S:.0f} h" if seconds >= HOUR_S else f"{seconds / 60:.0f} min"
