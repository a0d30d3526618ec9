"""Which versions applications have pinned."""

from protocol.configuration import PinDoc


class Pins:
    """Holds the pins of the change stream, by application: a call looks up one name."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, int]] = {}

    def put(self, document: PinDoc) -> None:
        """Learn of a pin, or of another version for it."""
        self._versions.setdefault(document.application, {})[document.model] = document.version

    def remove(self, key: str) -> None:
        """Forget the pin ``APPLICATION/MODEL``."""
        application, _, model = key.partition("/")
        held = self._versions.get(application)
        if held is not None:
            held.pop(model, None)
            if not held:
                del self._versions[application]

    def clear(self) -> None:
        """Forget every pin."""
        self._versions.clear()

    def version(self, application: str, model: str) -> int | None:
        """The version that answers the application's calls which name none; None: no pin."""
        held = self._versions.get(application)
        return None if held is None else held.get(model)
