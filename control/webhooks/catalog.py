"""The event types that endpoints may ask for. Each is an action of the audit log."""

from collections.abc import Mapping
from typing import Final

CATALOG: Final[Mapping[str, str]] = {
    "key.created": "An API key was made.",
    "key.changed": "An API key's label, scopes, models, networks or expiry were changed.",
    "key.rotated": "An API key has a new secret; the old one ends after its overlap.",
    "key.revoked": "An API key has ended.",
    "quota.threshold_reached": "An application has used 80 % or 100 % of its plan's quota.",
    "subscription.requested": "An application asks for a model, or for another plan.",
    "subscription.created": "An application subscribed to a model.",
    "subscription.changed": "A subscription has another plan or state.",
    "subscription.approved": "A publisher approved a subscription.",
    "subscription.refused": "A publisher refused a subscription.",
    "subscription.deleted": "A subscription has ended.",
    "application.created": "An application was made.",
    "application.changed": "An application was changed.",
    "application.deleted": "An application has ended.",
    "plan.created": "A plan was made.",
    "plan.changed": "A plan was changed.",
    "plan.deleted": "A plan has ended.",
    "model.created": "A model was made.",
    "model.changed": "A model's title or description was changed.",
    "model.transferred": "A model has another owner.",
    "version.registered": "A version was registered.",
    "version.validated": "Workers have loaded a version and its golden rows passed.",
    "version.approved": "A version may be published.",
    "version.published": "A version may be called.",
    "version.deprecated": "A version is on its way out; it still answers.",
    "version.deprecation_changed": "A deprecated version ends at another time, or otherwise.",
    "version.retired": "A version has gone out of service for good.",
    "version.rejected": "A version will not be published.",
    "version.loaded": "Workers are to hold a version.",
    "version.unloaded": "Workers are to let a version go.",
    "alert.raised": "A worker found something about a version that somebody should look at.",
    "alert.ended": "A worker no longer reports what it had found.",
    "alias.created": "An alias, such as stable, was made.",
    "alias.moved": "An alias, such as stable, points at another version.",
    "alias.removed": "An alias was removed.",
    "rollout.changed": "A model has another canary, another share of it, or other shadows.",
    "rollout.rolled_back": "A model's traffic went back to the version that was stable before.",
}
"""Every type with what it means."""
KINDS: Final = frozenset(type.partition(".")[0] for type in CATALOG)
