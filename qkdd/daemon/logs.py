"""Logs on stderr: JSON with a priority prefix under journald, readable on a terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from qkdd.base.secret import Secret

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def refuse_bytes(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Raise if a field could hold key material: no bytes of any kind ever reach a log."""
    for name, value in event.items():
        if isinstance(value, bytes | bytearray | memoryview | Secret):
            raise TypeError(f"log field {name!r} is {type(value).__name__}: bytes are never logged")
    return event


class _Listeners:
    """Who else hears every line, before it is given its form; set once the relay is up."""

    def __init__(self) -> None:
        self.hear: Processor | None = None

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if self.hear is not None:
            self.hear(logger, method, dict(event))
        return event


listeners = _Listeners()


@contextmanager
def heard_by(hear: Processor) -> Iterator[None]:
    """Have ``hear`` told of every line while the block lasts."""
    listeners.hear = hear
    try:
        yield
    finally:
        listeners.hear = None


def _to_json(event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _with_priority(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["priority"] = PRIORITY.get(method, 6)
    return event


def _prefixed(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    priority = event.pop("priority", 6)
    return f"<{priority}>{_to_json(event)}"


class PatientStderr:
    """Writes whole lines to a descriptor. What cannot be written (disk full, reader gone) is
    counted, not raised: a log must never end the relay. The next line tells how many were lost."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._n_lost = 0

    def write(self, text: str) -> int:
        note = f"[{self._n_lost} log lines lost] " if self._n_lost else ""
        left = memoryview((note + text).encode("utf-8", "backslashreplace"))
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            self._n_lost += 1
        else:
            self._n_lost = 0
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def configure_logs() -> None:
    """Choose the form by where stderr goes. Tracebacks never show local variables."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        refuse_bytes,
        listeners,
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
        logger_factory=structlog.WriteLoggerFactory(
            file=cast(TextIO, PatientStderr(sys.stderr.fileno()))  # the two methods that it calls
        ),
        cache_logger_on_first_use=True,
    )
