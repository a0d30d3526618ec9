"""What gateways know of applications: whose pages may call for them, and what may be kept."""

from policies.origins import OriginPolicy
from protocol.configuration import ApplicationDoc


class Applications:
    """Holds the applications of the change stream: their origins, for the policy, and which of them
    allow no capture."""

    def __init__(self, origins: OriginPolicy) -> None:
        self._origins = origins
        self.uncaptured: set[str] = set()
        """Applications of whose calls no payload is kept. Changed in place."""

    def put(self, document: ApplicationDoc) -> None:
        """Learn of an application, or of a change to it."""
        self._origins.put(document)
        if document.capture:
            self.uncaptured.discard(document.name)
        else:
            self.uncaptured.add(document.name)

    def remove(self, key: str) -> None:
        """Forget an application."""
        self._origins.remove(key)
        self.uncaptured.discard(key)

    def clear(self) -> None:
        """Forget every application."""
        self._origins.clear()
        self.uncaptured.clear()
