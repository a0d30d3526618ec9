"""How often the management API may be asked, per address and per user.

slowapi keeps the windows, in this process' memory: control is one process, and a restart forgets
them. Its decorators are not used: they see a request after its body was parsed and its credential
looked up, and every handler would have to take part; the layers in ``middleware.py`` ask before.
"""

import math
import os
import re
import time
import warnings
from typing import Final, Literal, NamedTuple

from limits import RateLimitItem, parse_many
from limits.strategies import RateLimiter
from slowapi import Limiter

from control.identity.failed_logins import network
from control.settings import ControlSettings
from protocol.errors import Code, TollwayError

Stage = Literal["address", "user"]
_OIDC: Final = r"/api/v1/oidc/[^/]+/(login|callback)"
_NEW_CREDENTIAL: Final = r"/api/v1/(keys|tokens|keys/[^/]+/rotate)"
LOGIN_NAME: Final = "login-name"
"""The rule that counts logins by the name that is tried, wherever they come from."""


class TooManyRequests(TollwayError):  # noqa: N818 -- a refusal, not a defect
    """A limit of the management API is used up. ``headers`` say which one and for how long."""

    def __init__(self, name: str, item: RateLimitItem, wait_s: int) -> None:
        window = item.get_expiry()
        super().__init__(
            Code.RATE_LIMITED,
            f"more than {item.amount} requests in {window} seconds (limit {name!r}): come back in "
            f"{wait_s} seconds",
        )
        self.headers = {
            "Retry-After": str(wait_s),
            "RateLimit-Policy": f'"{name}";q={item.amount};w={window}',
            "RateLimit": f'"{name}";r=0;t={wait_s}',
        }


class _Rule(NamedTuple):
    name: str
    stage: Stage
    limits: tuple[RateLimitItem, ...]
    methods: frozenset[str] | None
    path: re.Pattern[str]


class Throttle:
    """Counts requests against the rules that they fall under. Quick; used on the event loop.

    Raises ``ValueError`` at its making for a setting that is no limit (``30/minute``; several are
    separated by ``;``, none is the empty text).
    """

    def __init__(self, settings: ControlSettings) -> None:
        self._windows = _windows()
        post = frozenset({"POST"})
        login, credentials = _limits(settings.rate_login), _limits(settings.rate_credentials)
        everything = re.compile(r"/api/.*")
        # The narrow ones first: what they refuse is not counted by the wide ones.
        self._rules = (
            _rule("signup", "address", _limits(settings.rate_sign_up), r"/api/v1/signup", post),
            _rule("login", "address", login, r"/api/v1/sessions", post),
            _rule("login", "address", login, _OIDC, None),
            _rule("login", "address", login, r"/api/v1/users/me/password", frozenset({"PUT"})),
            _rule("credentials", "address", credentials, _NEW_CREDENTIAL, post),
            _rule("credentials", "user", credentials, _NEW_CREDENTIAL, post),
            _Rule("address", "address", _limits(settings.rate_address), None, everything),
            _Rule("user", "user", _limits(settings.rate_user), None, everything),
        )
        self._names = _limits(settings.rate_login_name)

    def check(self, stage: Stage, method: str, path: str, who: str) -> None:
        """Count a request of ``who``, an address or a user's name. Raises
        :class:`TooManyRequests`."""
        key = network(who) if stage == "address" else who
        for rule in self._rules:
            if (
                rule.stage == stage
                and rule.limits
                and (rule.methods is None or method in rule.methods)
                and rule.path.fullmatch(path) is not None
            ):
                self._count(rule.name, stage, rule.limits, key)

    def check_login(self, name: str) -> None:
        """Count an attempt to log in as ``name``, wherever it comes from."""
        self._count(LOGIN_NAME, "user", self._names, name)

    def _count(self, name: str, stage: str, limits: tuple[RateLimitItem, ...], key: str) -> None:
        for item in limits:
            if not self._windows.hit(item, name, stage, key):
                until = self._windows.get_window_stats(item, name, stage, key).reset_time
                wait_s = max(1, math.ceil(until - time.time()))
                raise TooManyRequests(name, item, wait_s)


def _windows() -> RateLimiter:
    with warnings.catch_warnings():
        # Given no file of settings it would read .env of whatever directory this was started in.
        warnings.filterwarnings("ignore", message="Config file .* not found")
        return Limiter(
            key_func=lambda: "",
            strategy="moving-window",
            storage_uri="memory://",
            config_filename=os.devnull,
        ).limiter


def _rule(
    name: str,
    stage: Stage,
    limits: tuple[RateLimitItem, ...],
    path: str,
    methods: frozenset[str] | None,
) -> _Rule:
    return _Rule(name, stage, limits, methods, re.compile(path))


def _limits(text: str) -> tuple[RateLimitItem, ...]:
    return tuple(parse_many(text)) if text.strip() else ()
