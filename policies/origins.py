"""Which web pages may call with which application's credentials (CORS, the Fetch standard)."""

from policies.base import Call
from protocol.configuration import ApplicationDoc
from protocol.errors import Code, TollwayError

SCHEMES = ("https://", "http://")
MAX_SHOWN = 100


class OriginPolicy:
    """An application names the origins whose pages may call for it. There is none by default.

    Only browsers send ``Origin``, and a page cannot change it: this keeps other sites' pages from
    using a key, not other programs.
    """

    def __init__(self) -> None:
        self._origins: dict[str, frozenset[bytes]] = {}
        self._applications: dict[bytes, int] = {}

    def check(self, call: Call) -> None:
        """Raise ``FORBIDDEN`` for a page that the calling application does not allow. Callers that
        are no pages pass."""
        origin = call.origin
        if origin is None:
            return
        assert call.identity is not None
        if not self.may_read(call):
            shown = origin[:MAX_SHOWN].decode("ascii", "backslashreplace")
            raise TollwayError(
                Code.FORBIDDEN,
                f"pages of '{shown}' may not call with this credential: add the origin to its "
                "application",
            )

    def may_read(self, call: Call) -> bool:
        """Whether the page that calls may read the answer: its origin is one of the calling
        application, or, while nobody knows who calls, of any application."""
        if call.origin is None:
            return False
        if call.identity is None:
            return self.allowed_by_any(call.origin)
        return call.origin in self._origins.get(call.identity.application, ())

    def allowed_by_any(self, origin: bytes) -> bool:
        """Whether there is an application that allows pages of ``origin``."""
        return origin in self._applications

    def put(self, document: ApplicationDoc) -> None:
        """Learn of an application, or of other origins of it."""
        self.remove(document.name)
        # ``*`` and ``null`` name no site: they never match.
        origins = frozenset(
            origin.lower().encode() for origin in document.origins if origin.startswith(SCHEMES)
        )
        if not origins:
            return
        self._origins[document.name] = origins
        for origin in origins:
            self._applications[origin] = self._applications.get(origin, 0) + 1

    def remove(self, key: str) -> None:
        """Forget the application of this name."""
        for origin in self._origins.pop(key, ()):
            self._applications[origin] -= 1
            if not self._applications[origin]:
                del self._applications[origin]

    def clear(self) -> None:
        """Forget every application."""
        self._origins.clear()
        self._applications.clear()
