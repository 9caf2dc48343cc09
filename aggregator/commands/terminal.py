"""What all commands of `jaga-central` share: the screen, the exit statuses, and one clear line for each trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from flwr.serverapp.exception import AggregationError, InconsistentMessageReplies
from rich.console import Console
from rich.markup import escape

from aggregator.claim import RunClaimed
from aggregator.cohort import CohortTooSmall
from aggregator.config import BadConfig
from aggregator.coordinator import Unresumable
from aggregator.records.database import RecordsError
from aggregator.records.runs import RunMoved
from aggregator.records.tensors import BadModel
from aggregator.strategies.registry import BadStrategy
from aggregator.strategies.secure_sum import UnevenTasks
from aggregator.strategies.state import StateMismatch, UnsavableStrategy
from aggregator.strategies.streaming import NotLinear
from aggregator.summing import HelperSilent
from privacy.boundary.arrays import BadArrays
from privacy.boundary.broker import BadBrokerUrl
from privacy.boundary.wire import NotConnected
from privacy.identity.certificates import UntrustedCertificate
from privacy.identity.keys import BadKey

out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """Exit statuses; `jaga-central --help` explains them."""

    CONFIG = 3
    BROKER = 4
    COHORT = 5
    CLAIMED = 6
    RECORDS = 7
    LEARNING = 8
    CREDENTIALS = 9
    INTERRUPTED = 130


STATUS: tuple[tuple[tuple[type[Exception], ...], Exit], ...] = (
    ((CohortTooSmall, HelperSilent), Exit.COHORT),
    ((RunClaimed, RunMoved), Exit.CLAIMED),
    ((RecordsError, StateMismatch), Exit.RECORDS),
    ((BadKey, UntrustedCertificate), Exit.CREDENTIALS),
    ((InconsistentMessageReplies, AggregationError, BadArrays), Exit.LEARNING),
    (
        (BadConfig, BadBrokerUrl, BadModel, BadStrategy, NotLinear, UnsavableStrategy, Unresumable, UnevenTasks),
        Exit.CONFIG,
    ),
    ((NotConnected,), Exit.BROKER),
    ((OSError,), Exit.CONFIG),
)
"""The first entry that fits decides: more special ones come first."""

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="JAGA_CENTRAL_CONFIG",
        help="The centre's central.toml. / Berkas central.toml milik pusat.",
    ),
]
DEFAULT_CONFIG = Path("central.toml")


@contextmanager
def explained() -> Iterator[None]:
    """Expected trouble in the block becomes one line that says what to do, and its own exit status."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("[bold]jaga-central:[/] stopped; start it again to go on. / Dihentikan; jalankan lagi untuk lanjut.")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except tuple(kind for kinds, _ in STATUS for kind in kinds) as why:
        status = next(status for kinds, status in STATUS if isinstance(why, kinds))
        err.print(f"[bold red]jaga-central:[/] {escape(str(why))}", soft_wrap=True, highlight=False)
        raise typer.Exit(status) from None


def day(at: float | None) -> str:
    """A date for a table."""
    return "-" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def moment(at: float | None) -> str:
    """Date and time for a table."""
    return "-" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
