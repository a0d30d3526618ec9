"""Every way a call can fail, as a type, with a message that says what to do next.

The server answers with problem+json (management) or ``{"error": "..."}`` (predictions); both end
here. No error ever holds the token or a key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import msgspec


class TollwayError(Exception):
    """Base of all errors of this library. ``str(error)`` is one line for a human.

    ``status`` is the HTTP status (None when no answer came), ``code`` the server's error code, and
    ``request_id`` what an operator finds the request by in the logs.
    """

    hint: str = ""
    """What to do next, when the server's own words do not say it."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
        hinted: bool = True,
    ) -> None:
        super().__init__(f"{message} - {self.hint}" if hinted and self.hint else message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class ConnectionFailed(TollwayError):  # noqa: N818 -- ConnectionError is the language's own
    """The server did not answer: not running, another address, or the network in between."""

    hint = "check that the server runs and that the URL (TOLLWAY_URL or `tollway login`) is right"


class TimedOut(TollwayError):  # noqa: N818 -- TimeoutError is the language's own
    """The server did not finish within the time allowed."""

    hint = "try again, or allow more time (`timeout_s`)"


class AuthenticationError(TollwayError):
    """No token, or one that the server does not know."""

    hint = "give another token: Client(token=...), TOLLWAY_TOKEN or `tollway login`"


class PermissionDeniedError(TollwayError):
    """The credential is good, but does not allow this."""

    hint = "use a token with the role for it, or a key whose application subscribes to the model"


class NotFoundError(TollwayError):
    """No such model, version, key or application."""

    hint = "`tollway models` and `tollway versions MODEL` list what there is"


class ConflictError(TollwayError):
    """The state on the server does not allow the change, or somebody else was faster."""

    hint = "look at the present state, then try again"


class InvalidRequestError(TollwayError):
    """The server refuses the request's content and says why, or this library does before."""

    about: str = ""
    """Of an evaluation, what is wrong: ``rows``, ``target``, ``segments`` or ``metrics``; empty
    where that is not known."""

    def regarding(self, about: str) -> Self:
        """The same, about this; what was known before stays."""
        self.about = self.about or about
        return self


@contextmanager
def regarding(about: str) -> Iterator[None]:
    """What is refused inside is about this."""
    try:
        yield
    except InvalidRequestError as error:
        raise error.regarding(about) from error.__cause__


class TooLargeError(InvalidRequestError):
    """The body or the artifact is larger than the server takes."""

    hint = "send fewer rows at a time, or have the server's limit raised"


class RateLimitedError(TollwayError):
    """The plan's limit or quota is used up."""

    hint = "wait (`retry_after_s` says how long) or take a larger plan"


class GoneError(NotFoundError):
    """The version was retired."""

    hint = "use another version: `tollway versions MODEL` lists them"


class NotReadyError(TollwayError):
    """Nothing can answer for this model or version now."""

    hint = "wait a moment and try again; `tollway versions MODEL` shows the engines' state"


class ServerError(TollwayError):
    """The server failed."""

    hint = "try again; if it stays, give the request id to whoever runs the server"


class DeploymentError(TollwayError):
    """The version was registered but could not be brought into service."""


class GateError(DeploymentError):
    """The version is loaded, and its model's requirements let it go no further now.

    ``missing`` says what stands in the way, an item for each criterion and for the approval.
    """

    def __init__(self, message: str, *, model: str, version: int, missing: list[str]) -> None:
        super().__init__(message)
        self.model = model
        self.version = version
        self.missing = missing


class CredentialsError(TollwayError):
    """The credentials file cannot be used."""


_BY_STATUS: dict[int, type[TollwayError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    412: ConflictError,
    413: TooLargeError,
    428: ConflictError,
    429: RateLimitedError,
    503: NotReadyError,
    504: TimedOut,
}
_SERVER_ERROR = 500
_SELF_EXPLAINING = {
    PermissionDeniedError,
    ConflictError,
    GoneError,
    TooLargeError,
    NotReadyError,
}
"""Of these the server's own words say what to do; a hint is for where a proxy answered."""

_OTHER_NOT_FOUND = "not_found"
"""The code where something else than a model or a version is missing: its name is in the words."""


class _Body(msgspec.Struct):
    """Either form of the server's errors."""

    error: str | None = None
    title: str | None = None
    detail: str | list[object] | None = None
    code: str = ""


def from_response(
    status: int, body: bytes, *, request_id: str = "", retry_after: str | None = None
) -> TollwayError:
    """The error that an answer with ``status`` and ``body`` stands for."""
    try:
        said = msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError:
        said = _Body()
    detail = said.detail if isinstance(said.detail, str) else None
    words = said.error or detail or said.title
    fallback = ServerError if status >= _SERVER_ERROR else InvalidRequestError
    kind = _BY_STATUS.get(status, fallback)
    return kind(
        " ".join((words or f"the server answered {status}").split()),
        status=status,
        code=said.code,
        request_id=request_id,
        retry_after_s=_seconds(retry_after),
        hinted=words is None or (kind not in _SELF_EXPLAINING and said.code != _OTHER_NOT_FOUND),
    )


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None  # an HTTP date: callers fall back to their own back-off
