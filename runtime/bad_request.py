"""Requests that are not HTTP/1.1 as a public port takes it: why, and their place in the queue."""

from typing import Final

import httptools

from runtime.logs import logger


class BadRequest(httptools.HttpParserError):
    """The request is not HTTP/1.1 as this port takes it: its answer ends the connection."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Unread(httptools.HttpParserError):
    """A request follows one after which nothing is read: it is not looked at, nor answered."""


class NobodyWaits:
    """Stands where an ASGI cycle has the event that wakes its application."""

    def set(self) -> None:
        """Wake nobody."""


NOBODY_WAITS: Final = NobodyWaits()


class Refusal:
    """A bad request's place among the requests of its connection, in place of uvicorn's cycle."""

    message_event = NOBODY_WAITS

    def __init__(self, error: BadRequest) -> None:
        self.error = error
        self.response_complete = self.disconnected = self.keep_alive = False


def reason_of(error: Exception) -> BadRequest:
    """Why a request was refused, as it may be told."""
    cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
    if isinstance(cause, BadRequest):
        return cause
    if isinstance(cause, httptools.HttpParserError):
        return BadRequest(str(cause))
    if isinstance(cause, UnicodeError):
        return BadRequest("the target is not ASCII")
    logger("http").error("a request could not be taken", error=repr(cause))  # a defect
    return BadRequest("internal error", 500)
