"""The node's page, run by itself, and its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import structlog
import typer

from edge.commands.terminal import BAD_CONFIG, BAD_CREDENTIALS, ConfigFile, explained, fail, ok, out
from edge.config import NodeConfig, PageTable
from edge.logged_events import logged
from edge.page.address import Listen, own_addresses, own_names
from edge.page.certificate import BadCertificate, fingerprint, make
from edge.page.child import page_settings

log = structlog.get_logger()


def page(
    config: ConfigFile,
    make_certificate: Annotated[
        bool,
        typer.Option("--make-certificate", help="Make a certificate for the page, and end. / Membuat sertifikat."),
    ] = False,
) -> None:
    """Serve the node's page alone, until stopped. / Menjalankan halaman node saja sampai dihentikan."""

    def work() -> None:
        loaded = NodeConfig.load(config)
        settings = loaded.page or PageTable()
        try:
            if make_certificate:
                _make(settings)
            else:
                _serve(loaded)
        except BadCertificate as why:
            fail(BAD_CREDENTIALS, why)

    explained(work)


def _make(page: PageTable) -> None:
    certificate, key = page.tls_certificate, page.tls_key
    if certificate is None or key is None:
        fail(
            BAD_CONFIG,
            'the configuration names no certificate: write tls_certificate = "page.crt" and tls_key = "page.key" under '
            "[page] first, and listen on an address of the site's network",
        )
    address = Listen.parse(page.listen).address
    addresses = own_addresses()
    if not address.is_unspecified and address not in addresses:
        addresses.append(address)
    names = [*own_names(), *(name for name in page.hosts if name not in own_names())]
    make(certificate, key, names, addresses)
    ok("certificate / sertifikat", str(certificate))
    out.print(f"for / untuk: {', '.join([*names, *map(str, addresses)])}", soft_wrap=True, highlight=False)
    _tell_fingerprint(certificate)


def _serve(config: NodeConfig) -> None:
    from edge.page.process import serve  # noqa: PLC0415  (the other commands do without its imports)
    from edge.serving import CannotListen  # noqa: PLC0415

    settings = page_settings(config, config.store_key())
    if settings.certificate is not None:
        _tell_fingerprint(Path(settings.certificate))

    def tell(event: dict[str, str | int | float | None]) -> None:
        said = logged(event)
        if said is not None:
            log.info(f"page {event['event']}", **said)

    try:
        serve(settings, tell, parent=lambda: 0)  # whoever typed this may log out
    except CannotListen as why:
        fail(BAD_CONFIG, why)


def _tell_fingerprint(certificate: Path) -> None:
    """What staff compare with what the browser shows, once on each device."""
    # Without this, rich takes the :DE: of a fingerprint for the flag of Germany.
    out.print("SHA-256:", fingerprint(certificate), soft_wrap=True, highlight=False, emoji=False)
    out.print(
        "Compare this with the certificate in the browser before you sign in. / Cocokkan dengan sertifikat di peramban "
        "sebelum masuk.",
        soft_wrap=True,
    )
