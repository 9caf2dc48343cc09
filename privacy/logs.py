"""Logging of every Jaga program: structlog to standard error, as text for people or as JSON lines for machines.

`configure_process` is the first call of every entry point. After it nothing that this process prints by itself (log
lines, tracebacks, warnings, other libraries' logging) carries local variables, and no core file of it is written. On a
node an exception's message can be a record ("slot 5 has 145.667 minutes"), and so can a warning's or another library's
log message. There only types and code locations are printed. At the centre and in simulations messages are printed.
"""

# ruff: noqa: PLC0415  (structlog takes 11 MB, and the process that senses does without it)

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, MutableMapping
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from privacy.core_dumps import forbid_core_dumps
from privacy.on_import import on_import
from privacy.tracebacks import error_of, locations, with_messages

if TYPE_CHECKING:
    from structlog.typing import Processor

Describe = Callable[[BaseException], str]
Say = Callable[..., None]
Event = MutableMapping[str, Any]
PLAIN = (str, int, float, bool, type(None))


class LogFormat(StrEnum):
    """Text for people, JSON for machines."""

    TEXT = "text"
    JSON = "json"


def configure_process(log_format: LogFormat = LogFormat.TEXT, *, messages: bool = False) -> None:
    """Set up all that this process prints by itself, and forbid core dumps; the first call of every entry point.

    Args:
        messages: print the messages of exceptions, warnings and other libraries. Never on a node.
    """
    forbid_core_dumps()
    on_import("structlog", partial(configure, log_format, messages=messages))
    say = partial(_say, log_format)
    describe = with_messages if messages else locations
    sys.excepthook = _excepthook(describe, say)
    threading.excepthook = _thread_hook(describe, say)
    sys.unraisablehook = _unraisable_hook(describe, say)
    if not messages:
        warnings.showwarning = partial(_show_warning, say)
        logging.setLogRecordFactory(_bare_record)


def configure(
    log_format: LogFormat, *, messages: bool = False, stream: TextIO | None = None, level: int = logging.INFO
) -> None:
    """Set up structlog alone; a command does so again once it knows the format that was asked for."""
    import structlog

    out = stream or sys.stderr
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception(with_messages if messages else locations),
    ]
    if not messages:
        processors.append(_plain_values)
    processors.append(
        structlog.processors.JSONRenderer()
        if log_format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )


def _describe_exception(describe: Describe) -> Processor:
    """A processor that replaces `exc_info` by text, before any renderer of structlog's own sees it."""

    def processor(_logger: object, _method: str, event: Event) -> Event:
        error = error_of(event.pop("exc_info", None))
        if error is not None:
            event["exception"] = describe(error)
        return event

    return processor


def _plain_values(_logger: object, _method: str, event: Event) -> Event:
    """Keep text and numbers; of anything else, such as a row, a tensor, a key or an exception, print its type."""
    for name, value in event.items():
        if isinstance(value, list | tuple):
            event[name] = [one if isinstance(one, PLAIN) else f"<{type(one).__name__}>" for one in value]
        elif not isinstance(value, PLAIN):
            event[name] = f"<{type(value).__name__}>"
    return event


def _say(log_format: LogFormat, level: str, event: str, **more: str) -> None:
    """A line in the manner of structlog's, for what nobody logs by a call."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if log_format is LogFormat.JSON:
        line = json.dumps({**more, "event": event, "level": level, "timestamp": at})
    else:
        plain = {name: value for name, value in more.items() if name != "exception"}
        line = f"{at} [{level}] {event} {' '.join(f'{name}={value}' for name, value in plain.items())}".rstrip()
        line = f"{line}\n{more['exception']}" if "exception" in more else line
    if sys.stderr is not None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _excepthook(
    describe: Describe, say: Say
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    def hook(kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        say("critical", "the program ended by an error", exception=describe(error))

    return hook


def _thread_hook(describe: Describe, say: Say) -> Callable[[threading.ExceptHookArgs], None]:
    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            say("error", "a thread ended by an error", exception=describe(args.exc_value))

    return hook


def _unraisable_hook(describe: Describe, say: Say) -> Callable[[sys.UnraisableHookArgs], None]:
    def hook(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:  # the object that it concerns is not printed: its repr may be a record
            say("error", "an error could not be raised", exception=describe(args.exc_value))

    return hook


def _show_warning(
    say: Say,
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    say("warning", "a library warns", warning=category.__name__, at=f"{filename}:{lineno}")


def _bare_record(
    name: str,
    level: int,
    pathname: str,
    lineno: int,
    msg: object,
    args: object,
    exc_info: object,
    func: str | None = None,
    sinfo: str | None = None,
    **_more: object,
) -> logging.LogRecord:
    """A record of the standard library's logging without its message, whichever handler a library adds later."""
    said = f"{name} logs at {pathname}:{lineno}"
    error = error_of(exc_info)
    if error is not None:
        said = f"{said}\n{locations(error)}"
    return logging.LogRecord(name, level, pathname, lineno, said, (), None, func)
