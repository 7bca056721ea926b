"""Logs: one JSON object a line on stdout, for our lines, arq's and the app's alike, with the running job's names bound.

``ARQUBE_LOG_FORMAT=console`` gives lines for people; ``ARQUBE_LOG_LEVEL`` is a level of ``logging``, INFO by default.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from arqube_worker import runs
from arqube_worker.runs import Run

FORMAT: Final = "ARQUBE_LOG_FORMAT"
LEVEL: Final = "ARQUBE_LOG_LEVEL"

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def names_of(run: Run) -> dict[str, Any]:
    """What every line about a run says."""
    names: dict[str, Any] = {"job_id": run.lease.job_id}
    if run.function is not None:
        names["function"] = run.function
    if run.attempt:
        names["try"] = run.attempt
    if run.span is not None:
        names.update(run.span.names())
    return names


def _add_run(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Say which job's code logs. Looked up here, so that a job which logs nothing costs nothing."""
    run = runs.current.get(None)
    if run is not None:
        for name, value in names_of(run).items():
            event.setdefault(name, value)
    return event


_SHARED: Final[list[Processor]] = [
    _add_run,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_OURS: Final[list[Processor]] = [
    structlog.stdlib.filter_by_level,
    *_SHARED,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of ours. It does not stand on structlog's global configuration, which belongs to the app."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name), processors=_OURS, wrapper_class=structlog.stdlib.BoundLogger
    )
    return logger


class _JsonLines(logging.StreamHandler):  # type: ignore[type-arg] # Python 3.10's takes no argument
    """Our handler for JSON; it can also write a line that says little without the processors' general ways."""

    _second = ("", -1)

    def write_line(self, logger: str, event: str, values: Mapping[str, str | int | float | None]) -> None:
        """Write a line at level INFO."""
        pieces = [
            f'"{name}": '
            + ("null" if value is None else encode_basestring_ascii(value) if isinstance(value, str) else repr(value))
            for name, value in values.items()
        ]
        line = (
            f'{{"event": "{event}", {", ".join(pieces)}, "logger": "{logger}", "level": "info", '
            f'"timestamp": "{self._timestamp()}"}}\n'
        )
        self.acquire()
        try:
            self.stream.write(line)
            self.flush()
        except (OSError, ValueError):  # a full disk, a closed pipe: no reason to end a job
            pass
        finally:
            self.release()

    def _timestamp(self) -> str:
        now = time.time()
        second = int(now)
        text, known = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (text, second)
        return f"{text}.{int((now - second) * 1e6):06}Z"


def job_event(name: str, event: str, run: Run, **values: str | float | None) -> None:
    """Log at level INFO what each job does twice: at thousands a second, these lines are what a worker spends most on.

    Whoever else listens (a handler of the app's) gets them as ever.
    """
    handlers = logging.root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], _JsonLines):
        handlers[0].write_line(name, event, {**values, **names_of(run)})
    else:
        get_logger(name).info(event, **values, **names_of(run))


def configure(environ: Mapping[str, str]) -> None:
    """Send all logs to stdout. Called before the app is imported, so that its import speaks JSON too.

    Raises:
        ValueError: A variable has a value that cannot be used; the message names it.
    """
    level = environ.get(LEVEL, "INFO").upper()
    if not isinstance(logging.getLevelName(level), int):  # it gives the number of a name, and a text for no name
        raise ValueError(f"{LEVEL} must be one of {', '.join(_LEVELS)}, not {level!r}")
    renderers: dict[str, list[Processor]] = {
        # Both without the frames' local variables: those hold the jobs' arguments.
        "json": [
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(default=repr),
        ],
        "console": [
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ],
    }
    form = environ.get(FORMAT) or "json"
    if form not in renderers:
        raise ValueError(f"{FORMAT} must be json or console, not {form!r}")
    handler = _JsonLines(sys.stdout) if form == "json" else logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers[form]],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


def adopt_app() -> None:
    """Called after the app's import: undo what its logging set-up did to ours, and serve its structlog loggers."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("arq", "arqube_worker"):
            logging.getLogger(name).disabled = False  # dictConfig disables the loggers that are there before it
    if not structlog.is_configured():
        structlog.configure(
            processors=_OURS,
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )
