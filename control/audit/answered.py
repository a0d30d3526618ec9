"""Which version answered an application at a moment: from the audit log, and from usage."""

from pydantic import BaseModel, ConfigDict

from control.store.answered import read_answered
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.access import Actor
from registry.clock import Clock, rfc3339
from registry.store.database import Database

MINUTE_MS = 60_000


class Pointed(BaseModel):
    """What calls without a version of their own got: `version` by the application's pin, the
    canary or the alias `stable` (`variant`), since when, and the audit entry that says so."""

    model_config = ConfigDict(frozen=True)

    version: int | None
    variant: str
    since: str | None
    entry: int | None


class Subscribed(BaseModel):
    """The application's subscription as the audit log has it; null `plan`: there was none."""

    model_config = ConfigDict(frozen=True)

    plan: str | None
    state: str | None
    since: str | None
    entry: int | None


class Counted(BaseModel):
    """What usage counted in the minute of the moment: calls that named a version included."""

    model_config = ConfigDict(frozen=True)

    version: int
    variant: str
    status: int
    requests: int


class Answer(BaseModel):
    """Which version answered. `routed` and `subscription` are as of `at`; gateways follow a change
    within a second."""

    model_config = ConfigDict(frozen=True)

    application: str
    model: str
    at: str
    routed: Pointed
    subscription: Subscribed
    minute: str
    counted: list[Counted]


class Answered:
    """Answers from one consistent view of the database. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def at(self, actor: Actor, application: str, model: str, at_ms: int) -> Answer:
        """Which version answered ``application``'s calls of ``model`` at ``at_ms``.

        Raises ``NOT_FOUND`` for what the actor does not reach, and ``INVALID`` for a moment that
        has not come yet.
        """
        check_name(application, "application")
        check_name(model, "model")
        if at_ms > self._clock():
            raise TollwayError(Code.INVALID, "query.at: has not come yet")
        with self._database.read() as connection:
            found = read_answered(connection, application, model, at_ms)
        allowed = found is not None and (
            actor.reaches_application(found.consumer) or actor.manages_model(model)
        )
        if found is None or not allowed:
            raise TollwayError(
                Code.NOT_FOUND,
                f"there is no application {application!r}, or no model {model!r}",
            )
        minute_ms = at_ms // MINUTE_MS * MINUTE_MS
        return Answer(
            application=application,
            model=model,
            at=rfc3339(at_ms),
            routed=Pointed(**found.routed),
            subscription=Subscribed(**found.subscription),
            minute=rfc3339(minute_ms),
            counted=[Counted(**row) for row in found.usage],
        )
