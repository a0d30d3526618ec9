"""Changes of a model's routes: moves, canaries, pins, rollbacks, deployments and unloadings."""

import random
import time
from collections import Counter
from collections.abc import Callable

import httpx

import tollway
from benchmarks.route_changes.model import NAME, answering
from benchmarks.route_changes.traffic import Traffic

LOADED = 4
"""Versions that are loaded at once, beside those that a deployment adds for a moment."""
DEPLOY_EVERY = 20
LOOK_EVERY = 10
FOLLOWED_S = 5.0
"""How long a change may take to show before it counts as lost."""
_CONFLICT = 409


class Changes:
    """Makes changes one after the other. ``api`` has the admin token."""

    def __init__(
        self, client: tollway.Client, api: httpx.Client, traffic: Traffic, application: str
    ) -> None:
        self._client = client
        self._api = api
        self._traffic = traffic
        self._pin = f"/api/v1/applications/{application}/pins/{NAME}"
        self._rollout = f"/api/v1/models/{NAME}/rollout"
        self._random = random.Random(7)
        self._stable = int(api.get(self._rollout).json()["stable"])
        self._loaded = [self._stable]
        self.made: Counter[str] = Counter()
        self.change_ms: list[float] = []
        """What each change took, deployments aside."""
        self.rollback_ms: list[float] = []
        self.followed_ms: list[float] = []
        """From the answer to a change of stable until a request was sent that it answered."""
        self.not_followed = 0

    def run(self, count: int, done: Callable[[], None] = lambda: None) -> None:
        """Make ``count`` changes."""
        while len(self._loaded) < LOADED:
            self._deploy()
        for number in range(count):
            if number % DEPLOY_EVERY == DEPLOY_EVERY - 1:
                self._deploy()
                self._move(self._loaded[-1])
                self._unload_oldest()
            else:
                self._change()
            if number % LOOK_EVERY == 0:
                self._look()
            done()

    def _change(self) -> None:
        kind = self._random.choices(
            ("move", "rollback", "canary", "pin"), weights=(50, 20, 20, 10)
        )[0]
        others = [one for one in self._loaded if one != self._stable]
        target = self._random.choice(others)
        match kind:
            case "move":
                self._move(target)
            case "rollback":
                self._roll_back()
            case "canary":
                share = self._random.choice([0.0, 10.0, 50.0, 100.0])
                wanted = {"version": target, "percent": share} if share else None
                self._put("canary", self._rollout, {"canary": wanted})
            case "pin":
                if self._random.random() < 0.5:
                    self._put("pin", self._pin, {"version": target})
                else:
                    self._timed("unpin", lambda: self._api.delete(self._pin), allowed={404})

    def _move(self, target: int) -> None:
        self._put("move", self._rollout, {"stable": target})
        self._stable = target

    def _roll_back(self) -> None:
        answer = self._timed(
            "rollback",
            lambda: self._api.post(f"/api/v1/models/{NAME}/rollback", json={"reason": "bench"}),
            allowed={_CONFLICT},  # the version before was unloaded, or there is none
        )
        if answer.is_success:
            self._stable = int(answer.json()["stable"])
            self.rollback_ms.append(self.change_ms[-1])

    def _deploy(self) -> None:
        number = max(version.number for version in self._client.versions(NAME)) + 1
        made = self._client.deploy(answering(number), name=NAME, stage=True, progress=False)
        if made.number != number:
            raise RuntimeError(f"version {made.number} was to be {number}")
        for state in ("approved", "published"):
            path = f"/api/v1/models/{NAME}/versions/{number}/transitions"
            self._api.post(path, json={"to": state}).raise_for_status()
        self._loaded.append(number)
        self.made["deploy"] += 1

    def _unload_oldest(self) -> None:
        """Right after the move: gateways may still be on their way to it."""
        oldest = next(one for one in self._loaded if one != self._stable)
        self._api.delete(self._pin)
        self._put("canary ended", self._rollout, {"canary": None})
        path = f"/api/v1/models/{NAME}/versions/{oldest}"
        self._timed("unload", lambda: self._api.patch(path, json={"loaded": False}))
        self._loaded.remove(oldest)

    def _look(self) -> None:
        """Move, and see how soon calls follow."""
        self._api.delete(self._pin)
        target = self._random.choice([one for one in self._loaded if one != self._stable])
        self._put("move", self._rollout, {"stable": target, "canary": None})
        self._stable = target
        took = self._traffic.answers_with(target, time.monotonic(), FOLLOWED_S)
        if took is None:
            self.not_followed += 1
        else:
            self.followed_ms.append(took * 1000)

    def _put(self, kind: str, path: str, body: object) -> None:
        self._timed(kind, lambda: self._api.put(path, json=body))

    def _timed(
        self, kind: str, call: Callable[[], httpx.Response], allowed: set[int] | None = None
    ) -> httpx.Response:
        began = time.monotonic()
        answer = call()
        took = time.monotonic() - began
        if not answer.is_success and answer.status_code not in (allowed or set()):
            raise RuntimeError(f"{kind}: {answer.status_code} {answer.text[:500]}")
        self.change_ms.append(took * 1000)
        self.made[kind if answer.is_success else f"{kind} refused"] += 1
        return answer
