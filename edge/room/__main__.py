"""`python -m edge.room`: started by a hub's node. Exit status: see `edge.errand`."""

from __future__ import annotations

import sys

from edge.errand import Emit, run
from edge.room.process import serve
from edge.room.settings import read_settings
from privacy.logs import configure_process


def work(line: bytes, emit: Emit) -> None:
    serve(read_settings(line), emit)


if __name__ == "__main__":
    configure_process()
    sys.exit(run(work))
