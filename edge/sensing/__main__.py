"""`python -m edge.sensing`: started by the node. Exit status: see `edge.errand`."""

from __future__ import annotations

import sys

from edge.errand import Emit, run
from edge.sensing.process import Sensing, SignalStop
from edge.sensing.settings import read_settings
from privacy.logs import configure_process


def work(line: bytes, emit: Emit) -> None:
    stop = SignalStop()
    Sensing(read_settings(line), emit, stop).run()


if __name__ == "__main__":
    configure_process()
    sys.exit(run(work))
