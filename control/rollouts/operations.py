"""What people do with a guarded canary by hand, each with a reason."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from control.rollouts.controller import runs
from control.rollouts.evidence import Verdict, verdict
from control.rollouts.turn import Turn
from control.store import canary_runs as store
from control.store.canary_runs import DecisionRecord, Run
from control.store.failures import repeated
from protocol.errors import Code, TollwayError
from registry.clock import Clock
from registry.models import model_not_found
from registry.rollouts import check_expected
from registry.status import ServingStatusOf
from registry.store import models as model_store
from registry.store import rollouts as rollout_store
from registry.store.database import Database


class _Present(NamedTuple):
    """A transaction's hold on a canary that is under way."""

    turn: Turn
    run: Run
    found: Verdict


class Canaries:
    """Reads guarded canaries, and changes them for a person. Thread-safe; calls block.

    Each change raises ``MODEL_NOT_FOUND``, ``NOT_FOUND`` where no guarded canary is under way,
    ``CONFLICT`` where its state does not allow it, and ``PRECONDITION_FAILED`` where the rollout is
    not in the ``expected`` state.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        serving_status: ServingStatusOf,
        look: Callable[[str], object],
    ) -> None:
        """``serving_status``: what workers report of a version. ``look``: the controller's look at
        a model."""
        self._database = database
        self._clock = clock
        self._serving_status = serving_status
        self._look = look

    def newest(self, model: str) -> Run | None:
        """The model's last guarded canary, under way or over. One that was set just now has
        begun."""
        self._catch_up(model)
        with self._database.read() as connection:
            return store.newest(connection, model)

    def _catch_up(self, model: str) -> None:
        """Begin the canary that the rollout plans, where the controller has not come to it yet:
        nobody may be shown the one before, or be told that there is none."""
        with self._database.read() as connection:
            rollout = rollout_store.get(connection, model)
            canary = rollout.canary
            if canary is None or canary.plan is None:
                return
            run = store.active(connection, model)
        if run is None or not runs(rollout, run):
            self._look(model)

    def alerting(self) -> list[Run]:
        """Canaries that were rolled back, and whose alert stands."""
        with self._database.read() as connection:
            return store.all_alerting(connection)

    def decisions(
        self, model: str, after: int, limit: int, *, newest: bool = False
    ) -> list[DecisionRecord]:
        """Decisions about the model's canaries, oldest first, or newest first."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
            return store.decisions(connection, model, after, limit, newest=newest)

    @repeated
    def pause(self, model: str, *, actor: str, reason: str, expected: str | None = None) -> Run:
        """Keep the canary at its step. It is guarded all the same."""
        with self._present(model, actor, expected) as (turn, run, found):
            _check(run, "running", "paused")
            after = msgspec.structs.replace(run, state="paused")
            return turn.note(run, after, "paused", found, reason)

    @repeated
    def resume(self, model: str, *, actor: str, reason: str, expected: str | None = None) -> Run:
        """Let it advance by itself again."""
        with self._present(model, actor, expected) as (turn, run, found):
            _check(run, "paused", "resumed")
            after = msgspec.structs.replace(run, state="running")
            return turn.note(run, after, "resumed", found, reason)

    @repeated
    def advance(self, model: str, *, actor: str, reason: str, expected: str | None = None) -> Run:
        """Go to the next step now, whatever the step still waits for; from the last one, do what
        its plan says: promote it, or stay there."""
        with self._present(model, actor, expected) as (turn, run, found):
            if run.progress.step + 1 < len(run.plan.steps):
                return turn.advance(run, found, reason)
            if run.plan.promote:
                return turn.promote(run, found, reason)
            if run.state == "completed":
                raise TollwayError(
                    Code.CONFLICT, "the canary is at its last step: promote it, or abort it"
                )
            after = msgspec.structs.replace(run, state="completed")
            return turn.note(run, after, "completed", found, reason)

    @repeated
    def abort(self, model: str, *, actor: str, reason: str, expected: str | None = None) -> Run:
        """End the canary: all of its traffic is stable's again."""
        with self._present(model, actor, expected) as (turn, run, found):
            return turn.take_back(run, "aborted", "aborted", found, reason)

    @contextmanager
    def _present(self, model: str, actor: str, expected: str | None) -> Iterator[_Present]:
        self._catch_up(model)
        with self._database.read() as connection:
            canary = rollout_store.get(connection, model).canary
        numbers = [] if canary is None else [canary.version]
        statuses = {number: self._serving_status(model, number) for number in numbers}
        with self._database.write() as connection:
            if not model_store.lock(connection, model):
                raise model_not_found(model)
            turn = Turn(connection, model, statuses, actor=actor, at=self._clock())
            check_expected(turn.rollout, expected)
            run = store.active(connection, model)
            if run is None or not runs(turn.rollout, run):
                raise TollwayError(
                    Code.NOT_FOUND, f"model {model!r} has no guarded canary under way"
                )
            if run.version not in statuses:
                raise TollwayError(
                    Code.CONFLICT, "another canary was set meanwhile; look at it again"
                )
            yield _Present(turn, run, verdict(run.progress, run.plan))


def _check(run: Run, wanted: str, done: str) -> None:
    if run.state != wanted:
        raise TollwayError(
            Code.CONFLICT, f"the canary is {run.state}: only one that is {wanted} can be {done}"
        )
