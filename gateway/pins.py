"""Which versions applications have pinned."""

from protocol.configuration import PinDoc


class Pins:
    """Holds the pins of the change stream, by application: a call looks up one name."""

    def __init__(self) -> None:
        self.versions: dict[str, dict[str, int]] = {}
        """Application -> model -> version."""

    def put(self, document: PinDoc) -> None:
        """Learn of a pin, or of another version for it."""
        self.versions.setdefault(document.application, {})[document.model] = document.version

    def remove(self, key: str) -> None:
        """Forget the pin ``APPLICATION/MODEL``."""
        application, _, model = key.partition("/")
        held = self.versions.get(application)
        if held is not None:
            held.pop(model, None)
            if not held:
                del self.versions[application]

    def clear(self) -> None:
        """Forget every pin."""
        self.versions.clear()
