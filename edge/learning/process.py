"""The trainer process, seen from the node: started for a task, kept while more may follow, ended to free its memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import BinaryIO, cast

import msgspec
import structlog

from edge.learning.protocol import JAGA_APP, PIPE_BYTES, Request, Response, Workplace, read_frame, write_frame
from privacy.boundary.messages import Refusal

log = structlog.get_logger()

GRACE_S = 5.0


class TrainerProcess:
    """Runs tasks, one at a time, in a child process that holds torch and Flower.

    Args:
        linger_s: how long an idle trainer is kept, so that a round's evaluation need not start another; seconds.
    """

    def __init__(self, workplace: Workplace, *, linger_s: float) -> None:
        self._workplace = workplace
        self._linger_s = linger_s
        self._process: subprocess.Popen[bytes] | None = None
        self._idle_since = 0.0

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return None if self._process is None else self._process.pid

    def run(self, request: Request, arrays: bytes | memoryview, timeout_s: float) -> tuple[Response, memoryview]:
        """Do a task.

        If the trainer of Jaga's own app dies, another one answers without reading a record.

        Returns:
            What the trainer answered, and its packed arrays; TRAINING_FAILED if it died or took longer than
            `timeout_s`.
        """
        answer = self._run(request, arrays, timeout_s)
        if answer is None and self._workplace.app == JAGA_APP and not request.noise_only:
            answer = self._run(msgspec.structs.replace(request, noise_only=True), arrays, timeout_s)
        return answer or (Response(refusal=Refusal.TRAINING_FAILED, detail="the trainer died"), memoryview(b""))

    def _run(
        self, request: Request, arrays: bytes | memoryview, timeout_s: float
    ) -> tuple[Response, memoryview] | None:
        process = self._started()
        overdue = threading.Timer(timeout_s, process.kill)
        overdue.start()
        try:
            write_frame(cast("BinaryIO", process.stdin), request, arrays)
            answer = read_frame(cast("BinaryIO", process.stdout), Response)
        except BrokenPipeError:
            answer = None
        finally:
            overdue.cancel()
            self._idle_since = time.monotonic()
        if answer is None:
            code = self._end()
            log.error("the trainer died; what it reserved of privacy counts as spent", exit_code=code)
        return answer

    def reap_idle(self) -> bool:
        """End the trainer where it has been idle for long enough, and say whether. Call this now and then."""
        if self._process is None or time.monotonic() - self._idle_since < self._linger_s:
            return False
        self._end()
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        command = [sys.executable, "-m", "edge.learning"]
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
        )
        try:
            write_frame(cast("BinaryIO", process.stdin), self._workplace)
        except BrokenPipeError:
            log.error("the trainer ended at its start; see its message above")
        return process

    def _end(self) -> int:
        process, self._process = cast("subprocess.Popen[bytes]", self._process), None
        for pipe in (process.stdin, process.stdout):
            try:
                cast("BinaryIO", pipe).close()
            except BrokenPipeError:
                continue
        try:
            return process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
