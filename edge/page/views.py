"""The pages that staff read, and what they can mark there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edge.page.condition import Facts, checks
from edge.page.page import PLACES, Form, Page, Visitor
from edge.page.spending import ledger_rows
from edge.page.texts import LANGUAGES
from edge.store.connection import Connection
from edge.store.exposures import Exposures, StoredExposure
from edge.store.slots import DAY_S
from privacy.boundary.audit import AuditLog, AuditRow
from privacy.journal import BrokenChain

ON_ONE_PAGE = 50
LISTS = ("new", "alerts", "all")
KNOWN_KINDS = ("reply", "case")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page of a long list, whose first page is number 0."""

    number: int
    entries: int

    @classmethod
    def asked(cls, request: Request, entries: int) -> Sheet:
        asked = request.query_params.get("page", "0")
        last = max(0, (entries - 1) // ON_ONE_PAGE)
        return cls(min(int(asked), last) if asked.isascii() and asked.isdecimal() else 0, entries)

    @property
    def newer(self) -> int | None:
        return self.number - 1 if self.number else None

    @property
    def older(self) -> int | None:
        return self.number + 1 if (self.number + 1) * ON_ONE_PAGE < self.entries else None

    @property
    def part(self) -> slice:
        return slice(self.number * ON_ONE_PAGE, (self.number + 1) * ON_ONE_PAGE)


class Views:
    """The handlers of these pages."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def alerts(self, request: Request, visitor: Visitor) -> Response:
        """GET /."""
        shown = request.query_params.get("show", "new")
        shown = shown if shown in LISTS else "new"
        found, facts = await self._page.desk.ask(partial(_exposures, shown=shown, now=visitor.speech.now))
        sheet = Sheet.asked(request, len(found))
        troubles = [check for check in checks(facts, self._page.settings, visitor.speech) if check.state == "trouble"]
        return self._page.show(
            "alerts.html",
            request,
            visitor,
            days=_by_day(found[sheet.part]),
            shown=shown,
            lists=LISTS,
            sheet=sheet,
            troubles=len(troubles),
            midnight=(visitor.speech.now // DAY_S) * DAY_S,
        )

    async def seen(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """POST /alerts/{number}/seen."""
        number, now, by = request.path_params["number"], visitor.speech.now, str(visitor.name)
        if number < 2**63:
            await self._page.desk.ask(lambda store: Exposures(store).seen(number, by, now))
        shown = form.get("show", "new")
        return RedirectResponse(f"/?show={shown}" if shown in LISTS[1:] else "/", 303)

    async def node(self, request: Request, visitor: Visitor) -> Response:
        """GET /node."""
        facts = await self._page.desk.ask(partial(Facts.read, now=visitor.speech.now))
        found = checks(facts, self._page.settings, visitor.speech)
        return self._page.show(
            "node.html",
            request,
            visitor,
            checks=found,
            troubles=sum(check.state == "trouble" for check in found),
            mode=self._page.settings.mode,
            room=self._page.settings.room,
            strip=None if self._page.settings.replay or not self._page.settings.listens else facts.strip,
        )

    async def privacy(self, request: Request, visitor: Visitor) -> Response:
        """GET /privacy."""
        rows, ledger, broken = await self._page.desk.ask(_what_left)
        sheet = Sheet.asked(request, len(rows))
        settings = self._page.settings
        return self._page.show(
            "privacy.html",
            request,
            visitor,
            spent=await self._page.spending.epsilon(ledger),
            failed=self._page.spending.failed,
            allowed=settings.epsilon,
            delta=settings.delta,
            lifetime_days=settings.record_lifetime_days,
            rows=rows[sheet.part],
            sheet=sheet,
            broken=broken,
            known_kinds=KNOWN_KINDS,
        )

    async def language(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """POST /language: remembered in this browser."""
        place = form.get("next", "/")
        if visitor.name is None:
            place = "/sign-in"
        response = RedirectResponse(place if place in (*PLACES, "/sign-in") else "/", 303)
        if form.get("language") in LANGUAGES:
            self._page.cookies.remember_language(response, form["language"])
        return response


def _exposures(store: Connection, *, shown: str, now: float) -> tuple[list[StoredExposure], Facts]:
    found = Exposures(store).stored(alerts_only=shown != "all")
    return [one for one in found if shown != "new" or one.seen_at is None], Facts.read(store, now)


def _by_day(found: list[StoredExposure]) -> list[tuple[int, list[StoredExposure]]]:
    """In the order in which they come, the latest day first."""
    days: dict[int, list[StoredExposure]] = {}
    for one in found:
        days.setdefault(one.exposure.day, []).append(one)
    return list(days.items())


def _what_left(store: Connection) -> tuple[list[AuditRow], int, int | None]:
    """Rows of the audit log, the newest first; rows of the ledger; and the first row that was tampered with."""
    audit = AuditLog(store)
    broken = None
    try:
        audit.verify()
    except BrokenChain as why:
        broken = why.row
    return audit.rows()[::-1], ledger_rows(store), broken
