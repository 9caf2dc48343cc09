"""`python -m simulations.attacks.fuzzing.host`: a node in front of its trainer, whose every written word can be read.

It runs the node's own `TrainerProcess`. What either writes to standard output or standard error ends in this process'
standard error, which is a file of the fuzzer.
"""

from __future__ import annotations

import os
import sys
import time
from typing import BinaryIO

import msgspec

from edge.learning.process import TrainerProcess
from edge.learning.protocol import Request, Response, Workplace, read_frame, write_frame
from privacy.boundary.messages import Encoding

LONGEST_START_S = 120.0
LINGER_S = 3600.0
UNREADABLE = Request(memoryview(b"no message"), [], Encoding.EXACT, None)
"""Refused by any trainer as soon as it has started."""


class Order(msgspec.Struct, frozen=True):
    """A task for the trainer; the arrays are its bulk."""

    request: Request
    timeout_s: float


class Answered(msgspec.Struct, frozen=True):
    """What the trainer answered; the packed arrays are its bulk.

    Attributes:
        seconds: that the answer took.
        died: whether the trainer's process ended meanwhile.
    """

    response: Response
    seconds: float
    died: bool


def serve(orders: BinaryIO, answers: BinaryIO) -> None:
    opening = read_frame(orders, Workplace)
    if opening is None:
        return
    trainer = TrainerProcess(opening[0], linger_s=LINGER_S)
    try:
        trainer.run(UNREADABLE, b"", LONGEST_START_S)
        while (frame := read_frame(orders, Order)) is not None:
            order, arrays = frame
            before, started = trainer.pid, time.monotonic()
            response, packed = trainer.run(order.request, arrays, order.timeout_s)
            seconds, died = time.monotonic() - started, trainer.pid != before
            if died:  # so that the next task finds a trainer that has started
                trainer.run(UNREADABLE, b"", LONGEST_START_S)
            write_frame(answers, Answered(response, seconds, died), packed)
    finally:
        trainer.stop()


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
