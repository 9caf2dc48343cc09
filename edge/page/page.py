"""What all requests share: the store, the words, the templates, and who is asking."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edge.page import passwords
from edge.page.cookies import LANGUAGE, Cookies, digest, new_token
from edge.page.desk import Desk
from edge.page.secret import page_secret
from edge.page.settings import Settings
from edge.page.spending import Spending
from edge.page.texts import LANGUAGES, Speech, load, preferred
from edge.page.throttle import AddressThrottle
from edge.store.connection import Connection
from edge.store.exposures import Exposures
from edge.store.staff import StaffSessions

WAITING_HASHES = 8
BODY_S = 10.0
LIVE_S = 30
STATIC = Path(__file__).with_name("static")
PLACES = ("/", "/node", "/privacy", "/account")

Form = Mapping[str, str]
Emit = Callable[[dict[str, str | int | float | None]], None]
Handler = Callable[[Request, "Visitor"], Awaitable[Response]]
FormHandler = Callable[[Request, "Visitor", Form], Awaitable[Response]]


class Busy(Exception):
    """Too many passwords wait to be checked."""


@dataclass(slots=True)
class Visitor:
    """Who is asking.

    Attributes:
        name: of the account that is signed in, or None.
        token: of the session, or of the visit where nobody is signed in.
        new: whether the visit's token was made just now, and is to be given.
        unseen: how many alerts nobody has looked at; for those who are signed in.
    """

    speech: Speech
    name: str | None
    token: str
    new: bool
    unseen: int = 0


class Page:
    """Everything behind the routes.

    Args:
        emit: told of what whoever runs the node should know.
        clock: seconds since the epoch.

    Raises:
        StoreError: the store cannot be opened.
    """

    def __init__(self, settings: Settings, emit: Emit, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.emit = emit
        self.clock = clock
        self.desk = Desk(settings.store())
        self.cookies = Cookies(self.desk.ask_now(page_secret), secure=settings.tls)
        self.throttle = AddressThrottle()
        self.spending = Spending(settings)
        self.static = {file.name: file.read_bytes() for file in STATIC.iterdir()}
        self._version = hashlib.sha256(b"".join(self.static[name] for name in sorted(self.static))).hexdigest()[:12]
        self._texts = {language: load(language) for language in LANGUAGES}
        self._zone = ZoneInfo(settings.timezone)
        self._hashing = ThreadPoolExecutor(1, "hash")
        self._hashes = 0
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        # The first unknown name must not take longer than the second one.
        passwords.verified("", None)

    def close(self) -> None:
        self._hashing.shutdown()
        self.desk.close()

    async def hashing(self, work: Callable[[], bool | str]) -> bool | str:
        """Work with Argon2, one at a time: each takes 32 MiB.

        Raises:
            Busy: `WAITING_HASHES` are waiting already.
        """
        if self._hashes >= WAITING_HASHES:
            raise Busy
        self._hashes += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._hashing, work)
        finally:
            self._hashes -= 1

    def speech(self, request: Request) -> Speech:
        language = request.cookies.get(LANGUAGE, "")
        if language not in LANGUAGES:
            language = preferred(request.headers.get("accept-language", ""), self.settings.language)
        return Speech(language, self._texts[language], self._zone, self.clock())

    async def visitor(self, request: Request) -> Visitor:
        """Who asks; a page that refreshes itself is no use of a session.

        Raises:
            StoreError: the store does not answer.
        """
        speech = self.speech(request)
        token = self.cookies.token(request, self.cookies.session)
        if token is not None:
            by_itself = request.method == "GET" and "live" in request.query_params
            find = partial(self._find, session=digest(token), now=speech.now, touch=not by_itself)
            name, unseen = await self.desk.ask(find)
            if name is not None:
                return Visitor(speech, name, token, new=False, unseen=unseen)
        visit = self.cookies.token(request, self.cookies.visit)
        return Visitor(speech, None, visit or new_token(), new=visit is None)

    def signed_in(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """For pages that only staff see; others are asked to sign in first."""

        async def handle(request: Request) -> Response:
            visitor = await self.visitor(request)
            if visitor.name is None:
                place = request.url.path if request.url.path in PLACES else "/"
                return RedirectResponse("/sign-in" if place == "/" else f"/sign-in?next={place}", 303)
            return await handler(request, visitor)

        return handle

    def form(self, handler: FormHandler, *, staff: bool = True) -> Callable[[Request], Awaitable[Response]]:
        """For forms: only one that this page made for this very browser does anything.

        Args:
            staff: whether one must be signed in.
        """

        async def handle(request: Request) -> Response:
            visitor = await self.visitor(request)
            if staff and visitor.name is None:
                return RedirectResponse("/sign-in", 303)
            async with asyncio.timeout(BODY_S):
                body = await request.body()
            try:
                fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=12))
            except ValueError:
                fields = {}
            ours = not visitor.new and self.cookies.is_form_token(fields.get("form_token", ""), visitor.token)
            if not ours or not _from_here(request):
                return self.problem(visitor, "form", 403)
            return await handler(request, visitor, fields)

        return handle

    def show(self, template: str, request: Request, visitor: Visitor, status: int = 200, **values: object) -> Response:
        """A page."""
        live = visitor.name is not None and "live" in request.query_params
        speech = visitor.speech
        html = self._templates.get_template(template).render(
            t=speech.text,
            count=speech.count,
            speech=speech,
            visitor=visitor,
            site=self.settings.site,
            place=request.url.path if request.url.path in PLACES else "/",
            form_token=self.cookies.form_token(visitor.token),
            languages=[(language, self._texts[language]["language.name"]) for language in LANGUAGES],
            version=self._version,
            live_s=LIVE_S if live and request.method == "GET" else 0,
            shortest=passwords.SHORTEST,
            **values,
        )
        response = HTMLResponse(html, status, {"Content-Language": speech.language, "Vary": "Accept-Language, Cookie"})
        if visitor.new:
            self.cookies.give(response, self.cookies.visit, visitor.token)
        return response

    def problem(self, visitor: Visitor, name: str, status: int) -> Response:
        """A page that says what went wrong; it has no forms."""
        html = self._templates.get_template("problem.html").render(
            t=visitor.speech.text, speech=visitor.speech, site=self.settings.site, name=name, version=self._version
        )
        return HTMLResponse(html, status, {"Content-Language": visitor.speech.language})

    def _find(self, store: Connection, *, session: bytes, now: float, touch: bool) -> tuple[str | None, int]:
        idle_s, longest_s = self.settings.idle_s, self.settings.session_s
        name = StaffSessions(store).name(session, now, idle_s=idle_s, longest_s=longest_s, touch=touch)
        return name, 0 if name is None else unseen_alerts(store)


def unseen_alerts(store: Connection) -> int:
    """How many alerts nobody has looked at."""
    return sum(one.seen_at is None for one in Exposures(store).stored(alerts_only=True))


def _from_here(request: Request) -> bool:
    """Whether the browser says that the form was on a page of this host; old browsers say nothing."""
    origin = request.headers.get("origin")
    here = f"{request.url.scheme}://{request.headers['host']}"
    return origin in (None, here) and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
