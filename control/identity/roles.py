"""What roles contain one another: a credential may carry a narrower role than its user's."""

from typing import Final

from registry.access import EVERYONE, Role

NARROWER: Final[dict[Role, tuple[Role, ...]]] = {
    "admin": EVERYONE,
    "publisher": ("publisher", "consumer"),
    "sponsor": ("sponsor", "consumer"),
    "consumer": ("consumer",),
    "auditor": ("auditor",),
}
"""Role of a user -> roles that their tokens may have."""
UNBOUND: Final[frozenset[Role]] = frozenset({"admin", "auditor"})
"""Roles that belong to no consumer: they see all of them."""
MANAGERS: Final[frozenset[Role]] = frozenset({"admin", "publisher", "sponsor"})
"""Roles that may own models or be granted them."""


def role_named(name: str) -> Role | None:
    """The role of this name; None for one that this version does not know: it may do nothing."""
    return next((role for role in EVERYONE if role == name), None)


def covers(role: Role, narrower: Role) -> bool:
    """Whether ``narrower`` allows nothing that ``role`` does not."""
    return narrower in NARROWER[role]
