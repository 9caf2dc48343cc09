"""How all of Jaga's programs log: structlog, to standard error, as text for people or as JSON lines for machines.

Events carry counts, names of parties and reasons. They never carry payloads, identifiers or an exception's local
variables, for logs are copied to places that records must not reach.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import TextIO

import structlog
from structlog.typing import Processor


class LogFormat(StrEnum):
    """Text for people, JSON for machines."""

    TEXT = "text"
    JSON = "json"


def configure(log_format: LogFormat, *, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Set up structlog for this process; the first call of every program."""
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    plain_tracebacks = structlog.dev.plain_traceback
    rendering: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format is LogFormat.JSON
        else [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain_tracebacks)]
    )
    structlog.configure(
        processors=shared + rendering,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
