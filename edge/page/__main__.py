"""`python -m edge.page`: started by the node. Exit status: see `edge.errand`."""

from __future__ import annotations

import sys

from edge.errand import Emit, run
from edge.page.process import serve
from edge.page.settings import read_settings
from privacy.logs import configure_process


def work(line: bytes, emit: Emit) -> None:
    serve(read_settings(line), emit)


if __name__ == "__main__":
    configure_process()
    sys.exit(run(work))
