"""`jaga-node`: what field staff type on a Raspberry Pi."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.main import get_command

from edge.commands.beacon import beacon
from edge.commands.calibrate import calibrate
from edge.commands.encounters import encounters
from edge.commands.erase import erase
from edge.commands.exposures import exposures
from edge.commands.keys import keys
from edge.commands.node import doctor, init, run
from edge.commands.page import page
from edge.commands.privacy import privacy
from edge.commands.report_case import report_case
from edge.commands.staff import staff
from edge.commands.tags import tags
from privacy.logs import LogFormat, configure, configure_process

HELP = """Run and look after one node. / Menjalankan dan merawat satu node.

Exit status: 0 fine, 2 wrong usage, 3 configuration, 4 keys or certificate, 5 encrypted store, 6 broker not reached,
7 the ledger or the audit log was tampered with.
"""

app = typer.Typer(name="jaga-node", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
for command in (init, run, doctor, page, beacon, calibrate, encounters, erase, exposures, report_case):
    app.command()(command)
app.add_typer(privacy)
app.add_typer(keys)
app.add_typer(staff)
app.add_typer(tags)


@app.callback()
def common(
    log: Annotated[LogFormat, typer.Option("--log", help="Log as text for people, or one JSON object a line.")] = (
        LogFormat.TEXT
    ),
) -> None:
    """Options for every command."""
    configure(log)


def main() -> None:
    """Entry point of `jaga-node`."""
    configure_process()
    # Not `app()`: typer would put a hook for uncaught errors of its own in the place of ours.
    sys.exit(get_command(app)())
