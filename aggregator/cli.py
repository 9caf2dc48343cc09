"""`jaga-central`: what the central team types."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aggregator.commands.authority import authority
from aggregator.commands.federation import init, nodes
from aggregator.commands.helper import helper
from aggregator.commands.keys import keys
from aggregator.commands.models import models
from aggregator.commands.revocations import revocations
from aggregator.commands.runs import run, runs
from privacy.logs import LogFormat, configure

HELP = """Run the centre of a federation. / Menjalankan pusat federasi.

Exit status: 0 fine, 2 wrong usage, 3 a file or value that cannot be used, 4 broker not reached, 5 too few nodes by the
deadline (start again to go on), 6 another coordinator has the run, 7 the records, 8 the nodes' replies cannot be
aggregated, 9 keys or certificates, 130 interrupted (start again to go on).
"""

app = typer.Typer(name="jaga-central", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(init)
app.command()(run)
app.command("leader", help="The same as `run`, by the name that a secure sum gives it. / Sama dengan `run`.")(run)
app.add_typer(helper, name="helper")
app.add_typer(nodes, name="nodes")
app.add_typer(revocations, name="revocations")
app.add_typer(authority, name="authority")
app.add_typer(keys, name="keys")
app.add_typer(models, name="models")
app.add_typer(runs, name="runs")


@app.callback()
def common(
    log: Annotated[LogFormat, typer.Option("--log", help="Log as text for people, or one JSON object a line.")] = (
        LogFormat.TEXT
    ),
) -> None:
    """Options for every command."""
    configure(log)


def main() -> None:
    """Entry point of `jaga-central`."""
    sys.exit(app())


if __name__ == "__main__":
    main()
