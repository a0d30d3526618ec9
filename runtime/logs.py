"""Structured logs on stderr: one JSON object a line, or text for people."""

import logging
import sys
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import structlog

from protocol.keys import redacted

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]
"""``auto``: ``console`` on a terminal, else ``json``."""


def configure_logs(role: str, level: LogLevel = "info", form: LogFormat = "auto") -> None:
    """Set up structlog, and the standard library's loggers, for this process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer = _Lines(form)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


class _Lines:
    """Renders events as lines, without any secret that a path or a message may hold."""

    def __init__(self, form: LogFormat) -> None:
        console = form == "console" or (form == "auto" and sys.stderr.isatty())
        self._render: structlog.typing.Processor = (
            # Tracebacks without the values of variables: those may be secrets.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
            if console
            else structlog.processors.JSONRenderer(serializer=_json)
        )

    def __call__(
        self,
        wrapped: structlog.typing.WrappedLogger,
        name: str,
        event: structlog.typing.EventDict,
    ) -> str:
        """One line."""
        return redacted(str(self._render(wrapped, name, event)))


def _json(event: Any, **_: object) -> str:  # noqa: ANN401 -- structlog's signature
    return msgspec.json.encode(event, enc_hook=repr).decode()


def write_events(component: str, events: Iterable[structlog.typing.EventDict]) -> None:
    """Write events that are complete (with ``level`` and ``timestamp``), whatever the level of the
    log: by one write, in the form of all other lines."""
    render = structlog.get_config()["processors"][-1]
    fields = {"component": component, **structlog.contextvars.get_contextvars()}
    lines = [f"{render(None, '', {**event, **fields})}\n" for event in events]
    sys.stderr.write("".join(lines))
    sys.stderr.flush()


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry ``component=name``."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return bound
