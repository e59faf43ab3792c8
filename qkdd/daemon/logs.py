"""Logs on stderr: JSON with a priority prefix under journald, readable on a terminal."""

import os
import sys

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, WrappedLogger

from qkdd.base.secret import Secret

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def refuse_bytes(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Raise if a field could hold key material: no bytes of any kind ever reach a log."""
    for name, value in event.items():
        if isinstance(value, bytes | bytearray | memoryview | Secret):
            raise TypeError(f"log field {name!r} is {type(value).__name__}: bytes are never logged")
    return event


def _to_json(event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _with_priority(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["priority"] = PRIORITY.get(method, 6)
    return event


def _prefixed(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    priority = event.pop("priority", 6)
    return f"<{priority}>{_to_json(event)}"


def configure_logs() -> None:
    """Choose the form by where stderr goes. Tracebacks never show local variables."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        refuse_bytes,
    ]
    if sys.stderr.isatty() and "JOURNAL_STREAM" not in os.environ:
        ending: list[structlog.typing.Processor] = [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    else:
        render = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        ending = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
            _with_priority,
            _prefixed,
        ]
    structlog.configure(
        processors=[*shared, *ending],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
