"""Whether the version may answer in its present state."""

from policies.base import Call
from protocol.configuration import CALLABLE_STATES, DeprecationDoc
from protocol.errors import Code, TollwayError


class LifecyclePolicy:
    """Consumers call published and deprecated versions; a retired one answers 410 to everybody."""

    def check(self, call: Call) -> None:
        """Raise ``GONE`` for a retired version, ``VERSION_NOT_FOUND`` for one not yet published."""
        if call.state in CALLABLE_STATES:
            return
        if call.state == "retired":
            raise TollwayError(
                Code.GONE,
                f"version {call.version} of '{call.model}'{_pinned(call)} was retired: "
                f"{towards_successor(call.deprecation)}",
            )
        identity = call.identity
        if identity is None or not identity.manages(call.model) or call.state == "rejected":
            raise TollwayError(
                Code.VERSION_NOT_FOUND, f"model '{call.model}' has no version {call.version}"
            )


def pinned_by(call: Call) -> str:
    """Why a call that names no version came to a pinned one, and what to do about it."""
    application = "" if call.identity is None else call.identity.application
    return f"application '{application}' is pinned to: pin another version, or remove the pin"


def _pinned(call: Call) -> str:
    named = (call.number, call.label, call.header_number) != (None, None, None)
    if named or call.variant != "pinned":
        return ""
    return f" (which {pinned_by(call)})"


def towards_successor(deprecation: DeprecationDoc | None) -> str:
    """What to call instead, and the publisher's note."""
    if deprecation is None or deprecation.successor is None:
        instead = "call the model without a version, or a newer one"
    else:
        instead = f"call its successor, version {deprecation.successor}"
    note = "" if deprecation is None else deprecation.note
    return f"{instead}. {note}" if note else instead
