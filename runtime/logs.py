"""Structured logs: one JSON object a line on stderr, or coloured text on a terminal."""

import logging
import sys
from typing import Literal

import structlog

from protocol.keys import redacted

LogLevel = Literal["debug", "info", "warning", "error"]


def configure_logs(role: str, level: LogLevel = "info") -> None:
    """Set up structlog, and the standard library's loggers, for this process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(sort_keys=False)
    )

    def renderer(
        wrapped: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
    ) -> str:
        """The line, without any secret that a path or a message may hold."""
        return redacted(str(render(wrapped, name, event)))

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


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry ``component=name``."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return bound
