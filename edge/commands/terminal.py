"""What all commands of `jaga-node` share: the screen, the exit statuses, and one clear line for each trouble."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from edge.config import BadConfig
from edge.keys.sources import KeyUnavailable
from edge.sensing.contacts import BadContactFile
from edge.store.errors import StoreError
from privacy.boundary.broker import BadBrokerUrl
from privacy.boundary.wire import NotConnected
from privacy.identity.certificates import UntrustedCertificate
from privacy.identity.keys import BadKey
from privacy.journal import BrokenChain

BAD_CONFIG, BAD_CREDENTIALS, BAD_STORE, NO_BROKER, TAMPERED = 3, 4, 5, 6, 7

out = Console()
err = Console(stderr=True)

ConfigFile = Annotated[Path, typer.Argument(help="The node's node.toml. / Berkas node.toml milik node.")]


def fail(code: int, why: object) -> NoReturn:
    """One line that says what to do, and an exit status that says which kind of trouble it is."""
    err.print(f"[bold red]jaga-node:[/] {escape(str(why))}", soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def explained(action: Callable[[], None]) -> None:
    """Run `action`; every expected trouble becomes one clear line and its own exit status."""
    try:
        action()
    except (BadConfig, BadBrokerUrl, BadContactFile) as why:
        fail(BAD_CONFIG, why)
    except (BadKey, KeyUnavailable, UntrustedCertificate) as why:
        fail(BAD_CREDENTIALS, why)
    except StoreError as why:
        fail(BAD_STORE, why)
    except BrokenChain as why:
        fail(TAMPERED, why)
    except (NotConnected, OSError) as why:
        fail(NO_BROKER, why)


def note(what: str, detail: str) -> None:
    """One line that is worth a look, and no trouble."""
    out.print(f"[yellow]![/] {what}: {escape(detail)}", highlight=False)


def ok(what: str, detail: str) -> None:
    """One line of good news."""
    out.print(f"[green]✓[/] {what}: {detail}", highlight=False)
