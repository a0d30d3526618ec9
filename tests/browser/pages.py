"""Every page of the portal: who looks at it, and where it is. A new page gets its line here."""

from typing import NamedTuple


class Shown(NamedTuple):
    """A page as one role sees it."""

    name: str
    """Of its screenshots: ``ROLE-NAME-light-desktop.png``."""
    role: str | None
    """None: nobody is logged in."""
    path: str
    refused: bool = False
    """Whether the answer is a refusal."""


PAGES = (
    Shown("welcome", None, "/portal"),
    Shown("login", None, "/portal/login"),
    Shown("sign-up", None, "/portal/sign-up"),
    Shown("catalogue", "consumer", "/portal"),
    Shown("search", "consumer", "/portal?q=forecast"),
    Shown("nothing-found", "consumer", "/portal?q=nothing-like-this"),
    Shown("model", "consumer", "/portal/models/demand-forecast"),
    Shown("catalogue-list", "consumer", "/portal?view=list"),
    Shown("try", "consumer", "/portal/models/demand-forecast/try"),
    Shown("reference", "consumer", "/portal/reference"),
    Shown("reference-keys", "consumer", "/portal/reference/api/keys"),
    Shown("reference-model", "consumer", "/portal/reference/models/demand-forecast"),
    Shown("publish", "publisher", "/portal/publish"),
    Shown("publish", "auditor", "/portal/publish"),
    Shown("new-model", "publisher", "/portal/publish/new"),
    Shown("publish-model", "publisher", "/portal/publish/models/demand-forecast"),
    Shown("publish-edit", "publisher", "/portal/publish/models/demand-forecast/edit"),
    Shown("version", "publisher", "/portal/publish/models/demand-forecast/versions/1"),
    Shown("version", "auditor", "/portal/publish/models/demand-forecast/versions/1"),
    Shown("evaluate", "publisher", "/portal/publish/models/demand-forecast/versions/1/evaluate"),
    Shown("requirements", "publisher", "/portal/publish/models/demand-forecast/requirements"),
    Shown("callers", "publisher", "/portal/publish/models/demand-forecast/callers"),
    Shown("retirement", "publisher", "/portal/publish/models/demand-forecast/retirement"),
    Shown(
        "deprecation", "publisher", "/portal/publish/models/demand-forecast/versions/1/deprecation"
    ),
    Shown("upload", "publisher", "/portal/publish/models/demand-forecast/upload"),
    Shown("rollout", "publisher", "/portal/publish/models/demand-forecast/rollout"),
    Shown("rollout", "auditor", "/portal/publish/models/demand-forecast/rollout"),
    Shown("shadows", "publisher", "/portal/publish/models/demand-forecast/shadows"),
    Shown("shadow", "publisher", "/portal/publish/models/demand-forecast/shadows/1"),
    Shown("approvals", "sponsor", "/portal/approvals"),
    Shown("approvals", "publisher", "/portal/approvals"),
    Shown("approval", "auditor", "/portal/approvals/demand-forecast/1"),
    Shown("not-found", "consumer", "/portal/models/none", refused=True),
    Shown("operate", "admin", "/portal/operate"),
    Shown("traffic", "admin", "/portal/operate/traffic"),
    Shown("limits", "auditor", "/portal/operate/limits"),
    Shown("audit", "admin", "/portal/operate/audit"),
    Shown("audit-entry", "auditor", "/portal/operate/audit/entries/2"),
    Shown("users", "admin", "/portal/operate/users"),
    Shown("new-issuer", "admin", "/portal/operate/new-issuer"),
    Shown("user", "admin", "/portal/operate/users/robin-publisher"),
    Shown("new-user", "admin", "/portal/operate/new-user"),
    Shown("consumers", "admin", "/portal/operate/consumers"),
    Shown("plans", "auditor", "/portal/operate/plans"),
    Shown("plan", "admin", "/portal/operate/plans/standard"),
    Shown("plan-form", "admin", "/portal/operate/plans/standard/edit"),
    Shown("subscriptions", "admin", "/portal/operate/subscriptions"),
    Shown("issuers", "admin", "/portal/operate/issuers"),
    Shown("settings", "auditor", "/portal/operate/settings"),
    Shown("start", "consumer", "/portal/start"),
    Shown("subscribe", "consumer", "/portal/subscribe?model=demand-forecast"),
    Shown("applications", "consumer", "/portal/applications"),
    Shown("new-application", "consumer", "/portal/new-application"),
    Shown("account", "consumer", "/portal/account"),
    Shown("webhooks", "consumer", "/portal/webhooks"),
    Shown("new-webhook", "consumer", "/portal/webhooks/new"),
)
