"""The portal's client of the management API (ADR 0025): the same application, in process, with the
visitor's own session as its bearer. The portal has no rights of its own."""

from collections.abc import Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from fastapi import Request
from pydantic import BaseModel, TypeAdapter

from control.middleware import client_address
from control.portal.in_process import answer_of
from protocol.errors import Code, TollwayError
from protocol.problems import FieldError, Problem, of_error

Reply = TypeVar("Reply")
QueryValue = str | int | bool | None
Query = QueryValue | list[str]

API: Final = "/api/v1"
_BASE: Final = httpx.URL("http://control")
MAX_FIELDS_SHOWN: Final = 100
MAX_PATH: Final = 2_000
_STEPS: Final = frozenset({".", ".."})
"""Names that would lead out of the path that they are put in."""
_PASSED_ON: Final = ("user-agent", "x-request-id", "x-forwarded-proto", "accept-language")
_WITHOUT_REASON: Final = "the management API gave no reason"


class ApiRefusal(Exception):  # noqa: N818 -- a refusal, not a defect
    """The API has refused: pages show it beside the field, or as a notice."""

    def __init__(self, problem: Problem, retry_after_s: int | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.status = problem.status
        self.retry_after_s = retry_after_s

    @property
    def fields(self) -> dict[str, str]:
        """Message by the name of the field in the request's body: ``name``, ``rates.0.requests``.

        A refusal by the domain that begins with a field's name counts for that field.
        """
        found = {
            error.field.removeprefix("body."): error.message
            for error in self.problem.errors[:MAX_FIELDS_SHOWN]
        }
        name, colon, rest = self.problem.detail.partition(": ")
        if not found and colon and name.replace(".", "").replace("_", "").isalnum():
            found[name.removeprefix("body.")] = rest
        return found

    @property
    def message(self) -> str:
        """The whole refusal in one text, for a button that has no fields."""
        told = "; ".join(error.message for error in self.problem.errors[:MAX_FIELDS_SHOWN])
        return told or self.problem.detail

    def beside(self, otherwise: str = "", **names: str) -> "ApiRefusal":
        """The same as a form shows it: a list's item (``networks.0``) counts for the list, a field
        of the API is the form's of ``names``; what is about none is said beside ``otherwise``, but
        for somebody else's having been faster."""
        told: dict[str, list[str]] = {}
        for name, message in self.fields.items():
            whole = name.partition(".")[0]
            told.setdefault(names.get(whole, whole), []).append(message)
        if not told and otherwise and self.problem.code != Code.PRECONDITION_FAILED:
            told[otherwise] = [self.problem.detail]
        errors = tuple(FieldError(name, "; ".join(said)) for name, said in told.items())
        return ApiRefusal(msgspec.structs.replace(self.problem, errors=errors), self.retry_after_s)


class Tagged(NamedTuple, Generic[Reply]):
    """A resource, and the entity tag under which it may be changed."""

    item: Reply
    etag: str


class Api:
    """Calls of the management API for one visitor. Raises :class:`ApiRefusal`."""

    def __init__(self, request: Request, secret: str | None) -> None:
        """``secret``: of the visitor's session; None: they are not logged in."""
        self._app = request.app
        self._headers = {
            name: value for name in _PASSED_ON if (value := request.headers.get(name)) is not None
        }
        # What counts for limits and the audit log is where the visitor is.
        self._headers["x-forwarded-for"] = client_address(request.scope)
        if secret is not None:
            self._headers["authorization"] = f"Bearer {secret}"

    async def get(self, path: str, kind: type[Reply], /, **query: Query) -> Reply:
        """What is at ``path`` (below ``/api/v1``), as ``kind``. A query value of None is left out.

        ``path`` may hold what came from the visitor: it is quoted.
        """
        return _read(await self.call("GET", path, query=query), kind)

    async def get_tagged(self, path: str, kind: type[Reply], /, **query: Query) -> Tagged[Reply]:
        """As :meth:`get`, with the tag for a change under ``if_match``."""
        answer = await self.call("GET", path, query=query)
        return Tagged(_read(answer, kind), answer.headers.get("etag", ""))

    async def post(
        self,
        path: str,
        body: object,
        kind: type[Reply],
        *,
        if_match: str | None = None,
        **query: Query,
    ) -> Reply:
        """Send ``body`` (a pydantic model, or what JSON can say; None: no body)."""
        headers = {"if-match": if_match}
        return _read(await self.call("POST", path, body, query=query, headers=headers), kind)

    async def put(
        self,
        path: str,
        body: object,
        kind: type[Reply],
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        **query: Query,
    ) -> Reply:
        """Write the whole resource; under ``if_match`` only if nobody has changed it meanwhile,
        with ``if_none_match="*"`` only if there is none."""
        conditions = {"if-match": if_match, "if-none-match": if_none_match}
        return _read(
            await self.call("PUT", path, body, query=query, headers=conditions),
            kind,
        )

    async def patch(
        self, path: str, body: object, kind: type[Reply], *, if_match: str | None = None
    ) -> Reply:
        """Change a part of the resource."""
        return _read(await self.call("PATCH", path, body, headers={"if-match": if_match}), kind)

    async def delete(self, path: str, *, if_match: str | None = None, **query: Query) -> None:
        """Take the resource away."""
        await self.call("DELETE", path, query=query, headers={"if-match": if_match})

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Query] | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> httpx.Response:
        """The answer as it is, for downloads and what is no JSON. Raises :class:`ApiRefusal`.

        ``body``: bytes go as they are, with the ``content-type`` among ``headers``.
        """
        request = self.request(method, path, body, query=query, headers=headers)
        answer = await answer_of(self._app, request)
        if answer.status_code >= 400:  # noqa: PLR2004 -- client and server errors
            raise self.refusal(answer)
        return answer

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Query] | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> httpx.Request:
        """What :meth:`call` sends."""
        given = {key: value for key, value in (query or {}).items() if value is not None}
        sent = {**self._headers, **{k: v for k, v in (headers or {}).items() if v is not None}}
        content = None
        if isinstance(body, bytes):
            content = body
        elif body is not None:
            content = _json(body)
            sent.setdefault("content-type", "application/json")
        url = _BASE.copy_with(path=API + _quoted(path), params=given or None)
        # Visitors' own headers may hold any byte, which is what each of these characters was.
        raw = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        return httpx.Request(method, url, headers=raw, content=content)

    @staticmethod
    def refusal(answer: httpx.Response) -> ApiRefusal:
        """What an answer that was read refuses."""
        return _refusal(answer)


def _quoted(path: str) -> str:
    """As it goes over the wire, below the API whatever names in it say. Raises ``NOT_FOUND``."""
    if len(path) > MAX_PATH or not _STEPS.isdisjoint(path.split("/")):
        raise ApiRefusal(
            of_error(TollwayError(Code.NOT_FOUND, f"there is nothing at {path[:200]}"))
        )
    return quote(path, safe="/")


_ADAPTERS: Final[dict[object, TypeAdapter[Any]]] = {}
"""Readers of answers by the kind: making one takes longer than the call."""


def _read(answer: httpx.Response, kind: type[Reply]) -> Reply:
    adapter: TypeAdapter[Reply] | None = _ADAPTERS.get(kind)
    if adapter is None:
        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    if not answer.content:
        return adapter.validate_python(None)
    return adapter.validate_json(answer.content)


def _json(body: object) -> bytes:
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True).encode()
    return msgspec.json.encode(body)


def _refusal(answer: httpx.Response) -> ApiRefusal:
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.DecodeError:
        problem = Problem(
            type="about:blank",
            title=answer.reason_phrase,
            status=answer.status_code,
            detail=_WITHOUT_REASON,
            code="",
        )
    wait = answer.headers.get("retry-after", "")
    return ApiRefusal(problem, int(wait) if wait.isdecimal() else None)
