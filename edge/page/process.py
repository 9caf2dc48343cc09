"""The page's process: serves until it is asked to stop, or until the node that started it is gone.

It tells what happens in lines of JSON on standard output:

    {"event": "serving", "url": ..., "fingerprint": ...}            fingerprint: SHA-256 of the certificate, or null
    {"event": "signed_in" | "sign_in_failed" | "password_changed", "account": ...}
    {"event": "account_locked", "account": ..., "for_s": ...}       only of accounts that exist
    {"event": "request_failed", "error": ..., "reason": ...}        somebody got an apology in the place of a page
    {"event": "stopped"}
    {"event": "failed", "error": ..., "reason": ...}                it cannot serve; the reason says what to do
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge import serving
from edge.page.address import Listen
from edge.page.app import make_app
from edge.page.certificate import check_pair, fingerprint
from edge.page.page import Emit, Page
from edge.page.settings import Settings


def serve(settings: Settings, emit: Emit, parent: Callable[[], int] = os.getppid) -> None:
    """Serve until SIGTERM or SIGINT, or until `parent` is another process than at the start.

    Raises:
        StoreError: the store cannot be opened.
        CannotListen, BadCertificate: see there.
    """
    asked = serving.prepare()
    certificate = None if settings.certificate is None else Path(settings.certificate)
    private_key = None if settings.private_key is None else Path(settings.private_key)
    if certificate is not None and private_key is not None:
        check_pair(certificate, private_key)
    listen = Listen.parse(settings.listen)

    def on_serving(port: int) -> None:
        shown = None if certificate is None else fingerprint(certificate)
        emit({"event": "serving", "url": listen.url(tls=settings.tls, port=port), "fingerprint": shown})

    with serving.open_socket(listen, "the page") as listening:
        page = Page(settings, emit)
        try:
            serving.serve(
                make_app(page),
                listening,
                on_serving,
                asked,
                certificate=certificate,
                private_key=private_key,
                parent=parent,
            )
        finally:
            page.close()
    emit({"event": "stopped"})
