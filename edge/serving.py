"""An ASGI app on the site's own network, for a process that lives only as long as the node that started it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from edge.page.address import Listen

CONNECTIONS = 64
KEEP_ALIVE_S = 15
GOODBYE_S = 3
PARENT_S = 1.0


class CannotListen(OSError):
    """The address or the port is not to be had; the message says what to do."""


def open_socket(listen: Listen, what: str) -> socket.socket:
    """A listening socket for `what`.

    Raises:
        CannotListen: another program has the port, or this machine has no such address.
    """
    family = socket.AF_INET6 if listen.address.version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((str(listen.address), listen.port))
        opened.listen(CONNECTIONS)
    except OSError as why:
        opened.close()
        todo = {
            errno.EADDRINUSE: "another program has this port: end it, or choose another port",
            errno.EADDRNOTAVAIL: "this machine has no such address: give one of its own, or 0.0.0.0",
            errno.EACCES: "ports below 1024 are for root: choose another, as 8443",
        }.get(why.errno or 0, "choose another address or port")
        raise CannotListen(f"{what} cannot listen on {listen.address}:{listen.port} ({why.strerror}): {todo}") from why
    return opened


def prepare() -> threading.Event:
    """Before anything is served: signals stop the server and nothing else, and its own words go nowhere.

    Returns:
        what is set by a signal that came before the server could heed it.
    """
    # They hold addresses and tracebacks; what matters of them is told as an event.
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    logging.getLogger("uvicorn").propagate = False
    # Uvicorn stops on these by itself, and raises them once more when it is done.
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    return asked


def serve(
    app: ASGIApp,
    listening: socket.socket,
    on_serving: Callable[[int], None],
    asked: threading.Event,
    *,
    certificate: Path | None = None,
    private_key: Path | None = None,
    parent: Callable[[], int] = os.getppid,
) -> None:
    """Serve until SIGTERM or SIGINT, or until `parent` is another process than at the start.

    Args:
        on_serving: called with the port.
        asked: from `prepare`.
    """
    asyncio.run(_serve(app, listening, on_serving, asked, certificate, private_key, parent))


async def _serve(
    app: ASGIApp,
    listening: socket.socket,
    on_serving: Callable[[int], None],
    asked: threading.Event,
    certificate: Path | None,
    private_key: Path | None,
    parent: Callable[[], int],
) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            # The lightest of each; no addresses in logs, and none taken from headers that anybody can write.
            loop="none",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GOODBYE_S,
            ssl_certfile=certificate,
            ssl_keyfile=private_key,
        )
    )
    watch = asyncio.create_task(_watch(server, asked, parent, parent()))
    on_serving(listening.getsockname()[1])
    try:
        await server.serve(sockets=[listening])
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(server: uvicorn.Server, asked: threading.Event, parent: Callable[[], int], born_to: int) -> None:
    """A node that was killed leaves nothing behind that would keep the port from the next one."""
    while parent() == born_to and not asked.is_set():
        await asyncio.sleep(PARENT_S)
    server.should_exit = True
