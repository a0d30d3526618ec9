"""The policies of a gateway in their order, and who decides by which documents of control."""

from collections.abc import Callable, Mapping

from gateway.applications import Applications
from gateway.catalog import Holder
from gateway.pins import Pins
from gateway.settings import GatewaySettings
from gateway.tokens import IssuerTokens
from policies.api_key import ApiKeyPolicy
from policies.base import Policy
from policies.brownouts import BrownoutPolicy
from policies.deadline import PlanDeadlinePolicy
from policies.environment import EnvironmentPolicy
from policies.identify import IdentifyPolicy
from policies.lifecycle import LifecyclePolicy
from policies.network import NetworkPolicy
from policies.origins import OriginPolicy
from policies.plans import Plans
from policies.request_headers import RequestHeadersPolicy
from policies.request_size import RequestSizePolicy
from policies.scopes import ScopePolicy
from policies.subscription import SubscriptionPolicy


class PolicySet:
    """All policies but the plan's limits, which need the usage log: see :mod:`gateway.limiting`."""

    def __init__(
        self, settings: GatewaySettings, key_pepper: bytes, now: Callable[[], float]
    ) -> None:
        """``now`` gives UNIX seconds."""
        self.keys = ApiKeyPolicy(key_pepper, now)
        self.tokens = IssuerTokens(settings, now)
        self.plans = Plans()
        self.pins = Pins()
        self.origins = OriginPolicy()
        self.applications = Applications(self.origins)
        self.sizes = RequestSizePolicy(settings.max_body_bytes)
        self.identify = IdentifyPolicy(self.keys, self.tokens.policy)
        # Order: from where a credential may be used before what it may be used for, see invoke.
        self.accept: list[Policy] = [
            NetworkPolicy(),
            EnvironmentPolicy(settings.accepted_environments),
            self.origins,
        ]
        # Order: the right to the model before the version's state, see invoke.
        self.authorise: list[Policy] = [
            SubscriptionPolicy(self.plans),
            ScopePolicy(),
            LifecyclePolicy(),
        ]
        # Order: what the version refuses before what is wrong with the request.
        self.admission: list[Policy] = [
            BrownoutPolicy(now),
            RequestHeadersPolicy(),
            self.sizes,
            PlanDeadlinePolicy(),
        ]

    @property
    def holders(self) -> Mapping[str, Holder]:
        """Kind of a document -> who decides by it."""
        return {
            "application": self.applications,
            "issuer": self.tokens.policy,
            "key": self.keys,
            "pin": self.pins,
            "plan": self.plans,
            "subscription": self.plans.subscriptions,
        }
