"""What the browser tests look at: models, and a user of every role."""

from dataclasses import dataclass, field
from typing import Any

import httpx

import tollway
from registry.access import EVERYONE
from tests.e2e.models import affine
from tests.e2e.stack import RunningStack

PASSWORD = "correct horse battery"
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>{{7*7}}"
"""What nobody's browser may run, and no template may calculate."""


@dataclass
class World:
    """The stack, and sessions of its users: ``robin-publisher`` and so on."""

    stack: RunningStack
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the gateway is, without a slash at the end."""
        return self.stack.url.rstrip("/")

    def cookie(self, role: str) -> dict[str, Any]:
        """The session cookie of the role's user."""
        return {
            "name": "tollway_session",
            "value": self.secrets[role],
            "url": f"{self.url}/portal",
            "httpOnly": True,
            "sameSite": "Lax",
        }

    def api(self) -> httpx.Client:
        """The management API as the installation's administrator."""
        return self.stack.api()


def build(stack: RunningStack) -> World:
    """Deploy the models and make the users."""
    made = World(stack)
    about = (
        "How many units of an article a shop sells on a day. Trained on two years of tills; it "
        "knows weekdays and weather, and nothing of promotions."
    )
    with made.api() as admin:
        for role in EVERYONE:
            body = {"role": role, "password": PASSWORD, "title": f"Robin {role.title()}"}
            admin.put(f"/api/v1/users/robin-{role}", json=body).raise_for_status()
            login = {"name": f"robin-{role}", "password": PASSWORD}
            answer = httpx.post(f"{made.url}/api/v1/sessions", json=login, trust_env=False)
            made.secrets[role] = answer.raise_for_status().json()["secret"]
        with tollway.Client(made.url, token=made.secrets["publisher"]) as publisher:
            publisher.deploy(affine(), name="demand-forecast")
            publisher.deploy(affine(), name="hostile")
        for name, title, description in (
            (
                "demand-forecast",
                "Demand forecast",
                about,
            ),
            ("hostile", HOSTILE, HOSTILE),
        ):
            said = {"title": title, "description": description}
            admin.put(f"/api/v1/models/{name}", json=said).raise_for_status()
    return made
