"""The client's methods about which version answers: labels, rollouts, pins."""

from collections.abc import Iterable
from dataclasses import dataclass

from tollway.guarded import CanaryDecision, CanaryStep, Guard, GuardedCanary, canary_of
from tollway.registry import STABLE, Registry, check_name
from tollway.resources import Version
from tollway.rollouts import Pin, Rollout, RolloutChange, Rollouts, Shadow
from tollway.transport import Transport
from tollway.upgrades import UpgradePreview, preview


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Whether version ``following`` can take ``version``'s place without its callers noticing;
    ``differences`` are all that they could trip over, in words."""

    model: str
    version: int
    following: int
    compatible: bool
    differences: tuple[str, ...]


class Routed:
    """What :class:`tollway.Client` offers about the traffic of models."""

    _registry: Registry
    _rollouts: Rollouts
    _transport: Transport

    def publish(self, name: str, number: int, *, timeout_s: float = 300.0) -> Version:
        """Let consumers call a version that they name, without moving any traffic to it.

        It is loaded first where it is not. :class:`ConflictError` says what its model's
        requirements lack.
        """
        if not self._registry.version(name, number).loaded:
            self._registry.set_loaded(name, number, True)
        return self._registry.walk(self._registry.wait_ready(name, number, timeout_s), "published")

    def promote(
        self,
        name: str,
        number: int,
        alias: str = STABLE,
        *,
        expected: int | None = None,
        force: bool = False,
        reason: str = "",
        timeout_s: float = 300.0,
    ) -> Version:
        """Point ``alias`` at a version; with ``stable``, the model's traffic follows.

        A version that is not loaded is loaded first, and one that is not published yet is taken
        there. The move is compare-and-swap: :class:`ConflictError` when somebody else moves the
        alias meanwhile, or when ``expected`` is given and it points elsewhere now; also for a
        version that breaks callers of the present one (the error lists how), unless there is
        ``force`` and a ``reason``.
        """
        check_name(alias, "alias")
        self.publish(name, number, timeout_s=timeout_s)
        self._registry.move_alias(name, alias, number, expected, reason=reason, force=force)
        self._registry.wait_live(name, number, alias, timeout_s)
        return self._registry.version(name, number)

    def compatibility(self, name: str, number: int, following: int) -> Compatibility:
        """What callers of version ``number`` could trip over when ``following`` took its place:
        what :meth:`promote` refuses without ``force``."""
        path = f"/api/v1/models/{check_name(name, 'model')}/versions/{number}/compatibility"
        return self._transport.get(path, Compatibility, {"following": following})

    def rollback(self, name: str, reason: str = "", *, timeout_s: float = 300.0) -> Version:
        """Give the traffic back to the version that was stable before the present one came, which
        is still loaded and warm; a canary ends. Going back twice goes back two versions."""
        number = self._rollouts.roll_back(name, reason).stable
        assert number is not None
        self._registry.wait_live(name, number, STABLE, timeout_s)
        return self._registry.version(name, number)

    def rollout(self, name: str) -> Rollout:
        """How the model's traffic is answered: stable version, canary, shadows."""
        return self._rollouts.get(name)

    def rollout_history(self, name: str) -> list[RolloutChange]:
        """Every change of the rollout, oldest first."""
        return list(self._rollouts.history(name))

    def canary(
        self,
        name: str,
        number: int,
        percent: float | None = None,
        *,
        steps: Iterable[CanaryStep | float] | None = None,
        guard: Guard | bool = False,
        promote: bool = False,
        force: bool = False,
        reason: str = "",
    ) -> Rollout:
        """Have a version answer a share of the applications which name none: ``percent`` in steps
        of 0.1. Raising it never moves an application back. It is published first where it is not,
        as by :meth:`publish`. :class:`ConflictError` for one that breaks callers of the stable
        one, unless ``force``.

        With ``steps`` (percentages, or :class:`CanaryStep`) its share grows by itself, and it is
        rolled back by itself when it does harm; ``promote`` makes it stable after the last one.
        ``guard`` says what harm is, True: by the defaults, which steps have anyway.
        """
        wanted = {"canary": canary_of(number, percent, steps, guard, promote=promote)}
        self.publish(name, number)
        return self._rollouts.change(name, wanted, reason=reason, force=force)

    def canary_decisions(self, name: str) -> list[CanaryDecision]:
        """Every decision about the model's guarded canaries with its numbers, oldest first."""
        return list(self._rollouts.guarded.decisions(name))

    def pause_canary(self, name: str, reason: str = "") -> GuardedCanary:
        """Keep a guarded canary at its step; it is guarded still."""
        return self._rollouts.guarded.act(name, "pause", reason)

    def resume_canary(self, name: str, reason: str = "") -> GuardedCanary:
        """Let it advance by itself again."""
        return self._rollouts.guarded.act(name, "resume", reason)

    def advance_canary(self, name: str, reason: str = "") -> GuardedCanary:
        """Take its next step now."""
        return self._rollouts.guarded.act(name, "advance", reason)

    def abort_canary(self, name: str, reason: str = "") -> GuardedCanary:
        """End it: all of its traffic is the stable version's again."""
        return self._rollouts.guarded.act(name, "abort", reason)

    def end_canary(self, name: str, reason: str = "") -> Rollout:
        """Give the canary's share back to the stable version."""
        return self._rollouts.change(name, {"canary": None}, reason=reason, force=False)

    def shadow(
        self, name: str, number: int, percent: float = 100.0, *, reason: str = ""
    ) -> Rollout:
        """Have a version also score a share of the requests, after their answer has left; other
        shadows stay."""
        wanted = Shadow(version=number, percent=percent)
        return self._rollouts.change_shadows(name, wanted, None, reason=reason)

    def end_shadow(self, name: str, number: int | None = None, *, reason: str = "") -> Rollout:
        """Take a shadow away; None: all of them."""
        gone = None if number is None else frozenset({number})
        return self._rollouts.change_shadows(name, None, gone, reason=reason)

    def pins(self, *, application: str | None = None, model: str | None = None) -> list[Pin]:
        """The pins of an application, or of a model that one manages."""
        return self._rollouts.pins(application, model)

    def pin(self, application: str, model: str, number: int, reason: str = "") -> Pin:
        """Have a version answer an application's calls which name none, whatever the rollout says.
        For the application's consumer and for who manages the model."""
        return self._rollouts.pin(application, model, number, reason)

    def unpin(self, application: str, model: str) -> None:
        """Remove a pin: calls go where the rollout says, at every gateway within a second."""
        self._rollouts.unpin(application, model)

    def upgrade(self, application: str, model: str, number: int, following: int) -> UpgradePreview:
        """What would change for the application's recent requests if version ``following`` answered
        them in place of ``number``: known where one of them was a shadow beside the other."""
        return preview(self._transport, application, model, number, following)
