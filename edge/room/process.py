"""The hub's reception: a process of its own, that takes parcels until it is asked to stop, or its node is gone.

It tells what happens in lines of JSON on standard output:

    {"event": "serving", "url": ...}
    {"event": "taken", "sightings": ..., "receiver": ...}
    {"event": "turned_away", "reason": ..., "of_this_kind": ...}
    {"event": "stopped"}
    {"event": "failed", "error": ..., "reason": ...}          it cannot serve; the reason says what to do
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge import serving
from edge.errand import Emit
from edge.lan import is_local
from edge.page.address import Listen
from edge.room.courier import CERTIFICATE_PATH, PATH
from edge.room.parcel import MOST_BYTES, BadParcel
from edge.room.reception import Reception
from edge.room.settings import Settings
from edge.store.errors import StoreError
from privacy.identity.authority import Identity


def make_app(reception: Reception, emit: Emit) -> Starlette:
    """Two addresses: the hub's certificate, and where parcels go."""

    async def certificate(request: Request) -> Response:
        if not _from_here(request):
            return PlainTextResponse("for this site's own network only", 403)
        return Response(reception.certificate, media_type="application/octet-stream")

    async def sightings(request: Request) -> Response:
        if not _from_here(request):
            return PlainTextResponse("for this site's own network only", 403)
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return PlainTextResponse(f"a parcel has a length, of at most {MOST_BYTES} bytes", 413)
        payload = await request.body()
        try:
            taken = await run_in_threadpool(reception.take, payload)
        except BadParcel as why:
            emit({"event": "turned_away", "reason": str(why), "of_this_kind": reception.turned_away.total()})
            return PlainTextResponse(str(why), 403)
        except StoreError as why:
            emit({"event": "store_unavailable", "reason": str(why)})
            return PlainTextResponse("the hub's store takes nothing now; send it again later", 503)
        emit({"event": "taken", "sightings": taken})
        return Response(status_code=204)

    return Starlette(
        routes=[Route(CERTIFICATE_PATH, certificate, methods=["GET"]), Route(PATH, sightings, methods=["POST"])]
    )


def serve(settings: Settings, emit: Emit, parent: Callable[[], int] = os.getppid) -> None:
    """Serve until SIGTERM or SIGINT, or until `parent` is another process than at the start.

    Raises:
        BadKey, UntrustedCertificate: the node's credentials.
        StoreError: the store cannot be opened.
        CannotListen: the address or port is not to be had.
    """
    asked = serving.prepare()
    database = settings.store()
    database.connect().close()
    identity = Identity.load(Path(settings.credentials))
    reception = Reception(identity, settings.receivers, database.connect)
    listen = Listen.parse(settings.listen)
    with serving.open_socket(listen, "the reception of this room's hub") as listening:
        serving.serve(
            make_app(reception, emit),
            listening,
            lambda port: emit({"event": "serving", "url": listen.url(tls=False, port=port)}),
            asked,
            parent=parent,
        )
    emit({"event": "stopped"})


def _from_here(request: Request) -> bool:
    return request.client is not None and is_local(request.client.host)
