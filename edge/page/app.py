"""The page as an ASGI app: which address leads where."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edge.page.address import own_names
from edge.page.cookies import new_token
from edge.page.guard import Guard
from edge.page.page import Page, Visitor
from edge.page.signing_in import SigningIn
from edge.page.views import Views
from edge.store.errors import StoreError

MEDIA = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
STATIC_S = 86400

Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(page: Page) -> ASGIApp:
    """All routes, behind the guard."""
    views, signing_in = Views(page), SigningIn(page)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in page.static:
            raise HTTPException(404)
        headers = {"Cache-Control": f"private, max-age={STATIC_S}"}
        return Response(page.static[name], 200, headers, MEDIA[name[name.rindex(".") :]])

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok")

    def get(path: str, endpoint: Endpoint) -> Route:
        return Route(path, endpoint, methods=["GET"])

    def post(path: str, endpoint: Endpoint) -> Route:
        return Route(path, endpoint, methods=["POST"])

    app = Starlette(
        routes=[
            get("/", page.signed_in(views.alerts)),
            post("/alerts/{number:int}/seen", page.form(views.seen)),
            get("/node", page.signed_in(views.node)),
            get("/privacy", page.signed_in(views.privacy)),
            get("/sign-in", signing_in.ask),
            post("/sign-in", page.form(signing_in.enter, staff=False)),
            post("/sign-out", page.form(signing_in.leave)),
            get("/account", page.signed_in(signing_in.account)),
            post("/account/password", page.form(signing_in.change)),
            post("/account/sign-out-everywhere", page.form(signing_in.leave_everywhere)),
            post("/language", page.form(views.language, staff=False)),
            get("/static/{name}", static),
            get("/alive", alive),
        ],
        exception_handlers={
            HTTPException: _explained(page, lambda why: "not_found" if _status(why) == 404 else "method"),
            StoreError: _explained(page, lambda why: "store"),
            TimeoutError: _explained(page, lambda why: "form"),
            Exception: _explained(page, lambda why: "broken"),
        },
    )
    # Not as Starlette's middleware: its answer to an exception that nobody expected would pass by the guard.
    return Guard(app, [*own_names(), *page.settings.hosts])


def _status(why: Exception) -> int:
    return why.status_code if isinstance(why, HTTPException) else 500


def _where(why: Exception) -> str:
    """File and line, and no word of what was there."""
    frame = traceback.extract_tb(why.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _explained(page: Page, name_of: Callable[[Exception], str]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A page that says what is wrong, in the browser's language; it does not ask the store who is asking."""
    statuses = {"store": 503, "form": 408, "broken": 500}

    async def explain(request: Request, why: Exception) -> Response:
        name = name_of(why)
        if name in ("store", "broken"):
            # An exception's own text may hold what a log must not.
            page.emit(
                {
                    "event": "request_failed",
                    "error": type(why).__name__,
                    "reason": str(why) if isinstance(why, StoreError) else _where(why),
                }
            )
        visitor = Visitor(page.speech(request), None, new_token(), new=False)
        return page.problem(visitor, name, statuses.get(name, _status(why)))

    return explain
