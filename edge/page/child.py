"""The page's process, seen from the node, which never imports what a web server needs."""

from __future__ import annotations

from collections.abc import Callable

from edge.child import Child, Event
from edge.config import NodeConfig, PageTable
from edge.page.settings import Settings
from privacy.identity.secret import Secret


class PageChild(Child):
    """Keeps the page running. Where it cannot, the node does everything else all the same."""

    def __init__(self, settings: Settings, on_event: Callable[[Event], None] | None = None) -> None:
        super().__init__("page", "edge.page", settings, on_event=on_event)


def page_settings(config: NodeConfig, key: Secret) -> Settings:
    """What the page is told, from the node's configuration; a node without `[page]` gets the defaults."""
    page = config.page or PageTable()
    scanner = config.sensing.scanner
    return Settings(
        database=str(config.store.path),
        key=key,
        site=config.name,
        listen=page.listen,
        certificate=None if page.tls_certificate is None else str(page.tls_certificate),
        private_key=None if page.tls_key is None else str(page.tls_key),
        hosts=list(page.hosts),
        timezone=page.timezone,
        language=page.language,
        idle_s=page.idle_minutes * 60,
        session_s=page.session_hours * 3600,
        mode=config.site.mode,
        room=config.site.room,
        replay=scanner is not None and scanner.kind == "replay",
        listens=scanner is not None,
        traces=config.tracing.region is not None,
        retention_days=config.store.retention_days,
        epsilon=config.privacy.epsilon,
        delta=config.privacy.delta,
        record_lifetime_days=config.privacy.record_lifetime_days,
    )
