"""Signing in and out, and changing one's password."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edge.page import passwords
from edge.page.cookies import digest, new_token
from edge.page.page import PLACES, Busy, Form, Page, Visitor
from edge.store.connection import Connection, transaction
from edge.store.staff import SignInFailures, Staff, StaffSessions

LONGEST_NAME = 64
LONGEST_TYPED = 4 * passwords.LONGEST


class SigningIn:
    """The handlers of these pages."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def ask(self, request: Request) -> Response:
        """GET /sign-in."""
        visitor = await self._page.visitor(request)
        if visitor.name is not None:
            return RedirectResponse("/", 303)
        said = {"out": "sign_in.ended", "changed": "account.changed"}.get(request.query_params.get("said", ""), "")
        if not said and "next" in request.query_params:
            said = "sign_in.again"
        return self._form(request, visitor, said=said)

    async def enter(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """POST /sign-in. Wrong name, wrong password and locked account get one answer, and take as long."""
        page, address = self._page, request.client.host if request.client else ""
        if (wait_s := page.throttle.count(address)) > 0:
            return self._wait(request, visitor, wait_s)
        name = form.get("name", "")[:LONGEST_NAME].strip().lower()
        account, now = page.cookies.account(name), page.clock()
        phc, locked = await page.desk.ask(partial(_look_up, name=name, account=account, now=now))
        try:
            right = await self._right(form.get("password", ""), None if locked else phc)
        except Busy:
            return self._form(request, visitor, 503, wrong="sign_in.busy")
        if not right or phc is None:
            return await self._turned_away(request, visitor, name if phc is not None else None, account)
        token = new_token()
        if not await page.desk.ask(partial(_open, name=name, phc=phc, account=account, token=token, now=now)):
            return self._form(request, visitor, 401, wrong="sign_in.wrong")
        page.throttle.forgive(address)
        page.emit({"event": "signed_in", "account": name})
        place = form.get("next", "/")
        response = RedirectResponse(place if place in PLACES else "/", 303)
        page.cookies.give(response, page.cookies.session, token)
        page.cookies.take(response, page.cookies.visit)
        return response

    async def leave(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """POST /sign-out: the session ends here, in the store, whatever the browser keeps."""
        await self._page.desk.ask(lambda store: StaffSessions(store).end(digest(visitor.token)))
        return self._out("out")

    async def leave_everywhere(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """POST /account/sign-out-everywhere."""
        await self._page.desk.ask(lambda store: StaffSessions(store).end_all(str(visitor.name)))
        return self._out("out")

    async def account(self, request: Request, visitor: Visitor) -> Response:
        """GET /account."""
        return await self._account(request, visitor)

    async def change(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """POST /account/password. Trying passwords here costs what it costs at the door."""
        page, name = self._page, str(visitor.name)
        current, new = form.get("current", ""), form.get("new", "")
        try:
            passwords.check_strength(new, name)
        except passwords.WeakPassword as why:
            return await self._account(request, visitor, 422, why.reason)
        if new != form.get("repeat", ""):
            return await self._account(request, visitor, 422, "account.differ")
        account, now = page.cookies.account(name), page.clock()
        phc, locked = await page.desk.ask(partial(_look_up, name=name, account=account, now=now))
        try:
            if not await self._right(current, None if locked else phc):
                return await self._account(request, visitor, 403, "account.wrong")
            hashed = await page.hashing(lambda: passwords.hashed(new))
        except Busy:
            return await self._account(request, visitor, 503, "sign_in.busy")
        await page.desk.ask(partial(_replace, name=name, phc=str(hashed), account=account, now=now))
        page.emit({"event": "password_changed", "account": name})
        return self._out("changed")

    async def _right(self, password: str, phc: str | None) -> bool:
        typed = password[:LONGEST_TYPED]
        return await self._page.hashing(lambda: passwords.verified(typed, phc)) is True

    async def _turned_away(self, request: Request, visitor: Visitor, known: str | None, account: bytes) -> Response:
        """Says the same to everybody; whoever runs the node hears of accounts that exist."""
        now = self._page.clock()
        # Asked for names that do not exist too, which would otherwise be answered sooner.
        until = await self._page.desk.ask(lambda store: SignInFailures(store).locked_until(account, now))
        if known is not None:
            if until is not None:
                self._page.emit({"event": "account_locked", "account": known, "for_s": round(until - now)})
            else:
                self._page.emit({"event": "sign_in_failed", "account": known})
        return self._form(request, visitor, 401, wrong="sign_in.wrong")

    def _wait(self, request: Request, visitor: Visitor, wait_s: float) -> Response:
        wait = int(wait_s) + 1
        response = self._form(request, visitor, 429, wrong="sign_in.wait", n=visitor.speech.number(wait))
        response.headers["Retry-After"] = str(wait)
        return response

    def _form(
        self, request: Request, visitor: Visitor, status: int = 200, *, said: str = "", wrong: str = "", n: str = ""
    ) -> Response:
        place = request.query_params.get("next", "/")
        values = {"said": said, "wrong": wrong, "n": n, "next": place if place in PLACES else "/"}
        return self._page.show("sign_in.html", request, visitor, status, **values)

    async def _account(self, request: Request, visitor: Visitor, status: int = 200, wrong: str = "") -> Response:
        sessions = await self._page.desk.ask(lambda store: StaffSessions(store).count(str(visitor.name)))
        values = {"sessions": sessions, "wrong": wrong, "longest": passwords.LONGEST}
        return self._page.show("account.html", request, visitor, status, **values)

    def _out(self, said: str) -> Response:
        response = RedirectResponse(f"/sign-in?said={said}", 303)
        self._page.cookies.take(response, self._page.cookies.session)
        return response


def _look_up(store: Connection, *, name: str, account: bytes, now: float) -> tuple[str | None, bool]:
    """The account's password, and whether it lets nobody in; a failure is counted before it is known to be one."""
    locked_s = SignInFailures(store).count(account, now)
    return Staff(store).password(name), locked_s > 0


def _open(store: Connection, *, name: str, phc: str, account: bytes, token: str, now: float) -> bool:
    """Begin a session, unless the password was changed or the account removed while this one was being checked."""
    with transaction(store):
        if Staff(store).password(name) != phc:
            return False
        SignInFailures(store).forgive(account)
        StaffSessions(store).open(digest(token), name, now)
    return True


def _replace(store: Connection, *, name: str, phc: str, account: bytes, now: float) -> None:
    with transaction(store):
        SignInFailures(store).forgive(account)
        Staff(store).set_password(name, phc, now)
