"""`python -m edge.tracing`: started by the node. Exit status 0: nothing waits; others: see `edge.errand`."""

from __future__ import annotations

import sys

from edge.errand import Emit, run
from edge.tracing.process import Tracing
from edge.tracing.settings import read_settings
from privacy.logs import configure_process


def work(line: bytes, emit: Emit) -> None:
    Tracing(read_settings(line), emit).run()


if __name__ == "__main__":
    configure_process()
    sys.exit(run(work))
