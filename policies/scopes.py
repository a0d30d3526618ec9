"""Whether the credential, and the plan, allow what the call asks for."""

from collections.abc import Collection

from policies.base import Call
from protocol.configuration import SCOPES, Scope
from protocol.errors import Code, TollwayError


class ScopePolicy:
    """Both the credential's scopes and the plan's must have the one that the operation needs."""

    def check(self, call: Call) -> None:
        """Raise ``FORBIDDEN`` where one of them does not."""
        identity, plan, needed = call.identity, call.plan, call.scope
        assert identity is not None
        if identity.scopes is not None and needed not in identity.scopes:
            raise _refusal("this credential", needed, identity.scopes)
        if plan is not None and plan.scopes is not None and needed not in plan.scopes:
            raise _refusal(f"plan '{plan.name}'", needed, plan.scopes)


def _refusal(what: str, needed: Scope, given: Collection[Scope]) -> TollwayError:
    has = ", ".join(scope for scope in SCOPES if scope in given) or "none"
    return TollwayError(
        Code.FORBIDDEN, f"{what} does not allow scope '{needed}', which this needs; it has: {has}"
    )
