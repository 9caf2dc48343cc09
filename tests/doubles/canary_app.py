"""A Flower app of another package, for tests of what leaves a trainer: it fails and prints in every way it can.

The task's config names the `fault` and what it `carries`: rows, an identifier, the store's key, a tag's label or a
member of staff, all as this process finds them in the store.
"""
# ruff: noqa: PLR0912, PTH123, T201

import ctypes
import faulthandler
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
import warnings

import structlog
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from edge.learning.site import Refused, Site
from edge.learning.tasks.task import load_task
from privacy.boundary.messages import Refusal


class CanaryError(Exception):
    """An error of another package, with its data as attributes."""

    def __init__(self, rows: object) -> None:
        super().__init__(rows)
        self.rows = rows


def carried(site: Site, what: str) -> object:
    connection = site.connection
    if what == "rows":
        return load_task("crowding").read(connection)
    if what == "tensor":
        torch.set_printoptions(precision=4, sci_mode=False, threshold=10_000)
        return torch.tensor([minutes for _, minutes in load_task("crowding").read(connection)], dtype=torch.float64)
    if what == "identifier":
        from edge.store.sightings import Sightings

        return [row.identifier for row in Sightings(connection).between(0, 2**40)][:3]
    if what == "label":
        return connection.execute("SELECT label, secret FROM tags").fetchall()
    if what == "staff":
        return connection.execute("SELECT name FROM staff").fetchall()
    raise LookupError(what)


def raised(fault: str, given: object) -> None:
    """Errors of many kinds, all with `given` in what they say and in local variables."""
    said = f"slot 5 has {given!r}"
    if fault == "value":
        raise ValueError(said)
    if fault == "key":
        raise KeyError(given)
    if fault == "runtime":
        raise RuntimeError(said, given)
    if fault == "own":
        raise CanaryError(given)
    if fault == "group":
        raise ExceptionGroup(said, [ValueError(said), CanaryError(given)])
    if fault == "cause":
        try:
            raise ValueError(said)
        except ValueError as why:
            raise TypeError(said) from why
    if fault == "context":
        try:
            raise ValueError(said)
        finally:
            {}[said]
    if fault == "note":
        error = ValueError(said)
        error.add_note(said)
        raise error
    if fault == "assertion":
        raise AssertionError(given)
    if fault == "os":
        raise OSError(5, said, said)
    if fault == "unicode":
        raise UnicodeDecodeError("utf-8", said.encode(), 0, 1, said)
    if fault == "refused":
        raise Refused(Refusal.NOT_SUMMABLE, said)
    if fault == "deep":
        raised(fault, given)
    if fault == "reply":
        raise StopIteration(said)


def printed(fault: str, given: object) -> None:
    said = f"slot 5 has {given!r}"
    raw = said.encode()
    if fault == "print":
        print(said, flush=True)
    elif fault == "print to error":
        print(said, file=sys.stderr, flush=True)
    elif fault == "the original error stream":
        print(said, file=sys.__stderr__, flush=True)
    elif fault == "write 1":
        os.write(1, raw)
    elif fault == "write 2":
        os.write(2, raw)
    elif fault == "printf":
        libc = ctypes.CDLL(None)
        libc.puts(raw)
        libc.perror(raw)
        libc.fflush(None)
    elif fault == "logging":
        logging.getLogger("another.package").error("rows: %s", given)
        logging.error(said)
    elif fault == "a handler":
        logging.getLogger("another").addHandler(logging.StreamHandler())
        logging.getLogger("another").error(said)
    elif fault == "logging an error":
        try:
            raised("value", given)
        except ValueError:
            logging.getLogger("another.package").exception(said)
    elif fault == "structlog":
        structlog.get_logger().error(said, rows=given)
    elif fault == "structlog an error":
        try:
            raised("value", given)
        except ValueError:
            structlog.get_logger().exception(said)
    elif fault == "warn":
        warnings.warn(said, stacklevel=1)
    elif fault == "traceback":
        try:
            raised("cause", given)
        except TypeError:
            traceback.print_exc()
    elif fault == "a thread":
        thread = threading.Thread(target=raised, args=("value", given))
        thread.start()
        thread.join()
    elif fault == "an error in __del__":

        class Row:
            def __del__(self) -> None:
                raised("value", given)

        Row()
    elif fault == "a fork":
        child = os.fork()
        if child == 0:
            os.write(1, raw)
            os.write(2, raw)
            os._exit(0)
        os.waitpid(child, 0)
    elif fault == "a program":
        subprocess.run(["/bin/sh", "-c", 'echo "$1"; echo "$1" >&2', "sh", said], check=True)
    elif fault == "faulthandler":
        faulthandler.dump_traceback(sys.__stderr__)
        print(said, file=sys.stderr, flush=True)
    elif fault == "the profiler":
        sys.stderr.writelines([said])
        sys.stdout.flush()
    elif fault == "a warning that is an error":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.warn(said, stacklevel=1)


def ended(fault: str, given: object) -> None:
    held = [given] * 3, f"slot 5 has {given!r}"
    if fault == "abort":
        os.abort()
    if fault == "segv":
        ctypes.string_at(0)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "bus":
        os.kill(os.getpid(), signal.SIGBUS)
    if fault == "quit":
        os.kill(os.getpid(), signal.SIGQUIT)
    if fault == "illegal":
        os.kill(os.getpid(), signal.SIGILL)
    if fault == "exit with a record":
        raise SystemExit(held[1])
    if fault == "interrupt":
        raise KeyboardInterrupt(held[1])
    if fault == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        torch.zeros(2**33)
    if fault == "fault handler":
        faulthandler.enable()
        ctypes.string_at(0)
    if fault == "disk":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with open("scratch", "wb") as scratch:
            scratch.write(bytes(10_000))
    if fault == "disk, told":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with open("scratch", "wb") as scratch:
            scratch.write(bytes(10_000))


def app_for(site: Site) -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        config = message.content["config"]
        kind, fault = str(config["kind"]), str(config["fault"])
        given = carried(site, str(config["carries"]))
        {"raise": raised, "print": printed, "end": ended}[kind](fault, given)
        return Message(message.content, reply_to=message)

    return app
