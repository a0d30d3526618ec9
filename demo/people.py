"""Who uses the demo: a user of every role, the consumers, and what they may buy."""

import secrets
from dataclasses import dataclass

import tollway

PASSWORD_BYTES = 12
PUBLISHER, SPONSOR, CONSUMER, ADMIN, AUDITOR = "paula", "samuel", "clara", "ada", "otto"
HOSPITAL, INSTITUTE = "st-elmo", "helix"


@dataclass(frozen=True)
class Person:
    """A user, and what they do here."""

    name: str
    role: str
    title: str
    consumer: str | None
    looks_at: str
    """A page that shows this role something."""
    finds: str
    """What is on it."""


PEOPLE = (
    Person(
        CONSUMER, "consumer", "Clara, developer at St. Elmo", HOSPITAL,
        "/portal/applications", "tumour-board",
    ),
    Person(
        PUBLISHER, "publisher", "Paula, data scientist", None,
        "/portal/publish", "Breast cancer",
    ),
    Person(
        SPONSOR, "sponsor", "Samuel, head of diagnostics", None,
        "/portal/approvals", "Diabetes: progression",
    ),
    Person(ADMIN, "admin", "Ada, operator", None, "/portal/operate", "worker-1"),
    Person(AUDITOR, "auditor", "Otto, auditor", None, "/portal/operate/audit", PUBLISHER),
)  # fmt: skip
"""In the order in which one looks around."""
CONSUMERS = {HOSPITAL: "St. Elmo hospital", INSTITUTE: "Helix institute"}
CLINICAL = "clinical"
PLANS: dict[str, dict[str, object]] = {
    "trial": {
        "title": "Trial",
        "description": "To look at a model. Free of charge.",
        "rates": [{"name": "second", "requests": 5, "window_s": 1}],
        "quota": {"limit": 5_000, "unit": "requests", "period": "month"},
    },
    CLINICAL: {
        "title": "Clinical",
        "description": "For routine use. The publisher looks at each subscription first.",
        "rates": [
            {"name": "second", "requests": 50, "window_s": 1},
            {"name": "hour", "requests": 20_000, "window_s": 3600},
        ],
        "quota": {"limit": 1_000_000, "unit": "rows", "period": "month"},
        "concurrency": 16,
        "max_rows": 500,
        "price_per_thousand": {"amount": "0.80", "currency": "EUR"},
        "approval": "publisher",
    },
}


def welcome(admin: tollway.Client) -> dict[str, str]:
    """Make the plans, consumers and users. Passwords by name: new at every start, as those of an
    earlier one are known to nobody."""
    for plan, limits in PLANS.items():
        admin.set_plan(plan, limits)
    for consumer, title in CONSUMERS.items():
        admin.create_consumer(consumer, title=title)
    passwords = {one.name: secrets.token_urlsafe(PASSWORD_BYTES) for one in PEOPLE}
    for one in PEOPLE:
        admin.users.put(
            one.name,
            role=one.role,
            title=one.title,
            consumer=one.consumer,
            password=passwords[one.name],
        )
    return passwords


def as_user(admin: tollway.Client, name: str, passwords: dict[str, str]) -> tollway.Client:
    """A client with a session of theirs."""
    return tollway.Client(admin.url, admin.users.log_in(name, passwords[name]).secret)
