"""Plans in SQL. Every change commits with its document on the stream and an audit entry."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.plans import BUILT_IN, Plan, PlanRequest, check_plan, plan_document
from control.preconditions import NO_PRECONDITION, Precondition
from control.resources import Page
from control.store.directory import Put
from control.store.failures import repeated
from control.store.stream import publish_if_new
from control.store.tables import plans, subscriptions
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.store import audit, changes
from registry.store.database import Database


class Plans:
    """Reads and writes plans. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def write_built_in(self) -> None:
        """Make the built-in plans that are missing. One that is there stays as it is."""
        now = self._clock()
        with self._database.write() as connection:
            known = set(connection.execute(sa.select(plans.c.name)).scalars())
            for name, request in BUILT_IN.items():
                if name not in known:
                    _insert(connection, name, request, now)

    @repeated
    def put(
        self, name: str, request: PlanRequest, condition: Precondition = NO_PRECONDITION
    ) -> Put[Plan]:
        """Make the plan, or put ``request`` whole in its place. Subscriptions follow at once."""
        check_name(name, "plan")
        check_plan(request)
        now = self._clock()
        with self._database.write() as connection:
            current = _find(connection, name, lock=True)
            condition.check(current)
            if current is None:
                return Put(_insert(connection, name, request, now), True)
            terms = request.model_dump_json()
            if _request(current).model_dump_json() == terms:
                return Put(current, False)
            values = {"terms": terms, "updated_ms": now}
            connection.execute(sa.update(plans).where(plans.c.name == name).values(values))
            changed = _plan(name, request, current.created_at, rfc3339(now))
            # What only this API shows, such as the title, is no news to gateways.
            publish_if_new(connection, "plan", name, plan_document(name, request))
            audit.record(
                connection, "plan.changed", "plan", name, at_ms=now, before=current, after=changed
            )
            return Put(changed, False)

    def get(self, name: str) -> Plan:
        """The plan of this name, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = _find(connection, name)
        if found is None:
            raise _missing(name)
        return found

    def list(self, limit: int, after: str) -> Page[Plan]:
        """Plans by name."""
        query = sa.select(plans).where(plans.c.name > after).order_by(plans.c.name).limit(limit + 1)
        with self._database.read() as connection:
            items = [_of_row(row) for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.name)

    def delete(self, name: str, condition: Precondition = NO_PRECONDITION) -> None:
        """Remove a plan that nothing uses; ``CONFLICT`` for a built-in one, or one in use."""
        now = self._clock()
        with self._database.write() as connection:
            current = _find(connection, name, lock=True)
            if current is None:
                raise _missing(name)
            condition.check(current)
            if name in BUILT_IN:
                raise TollwayError(
                    Code.CONFLICT, f"plan {name!r} is built in: it can be changed, not deleted"
                )
            used = _uses(connection, name)
            if used:
                what = (
                    f"1 subscription uses plan {name!r} or asks for it: move it"
                    if used == 1
                    else f"{used} subscriptions use plan {name!r} or ask for it: move them"
                )
                raise TollwayError(
                    Code.CONFLICT,
                    f"{what} to another plan first",
                )
            connection.execute(sa.delete(plans).where(plans.c.name == name))
            changes.append(connection, "plan", name, None)
            audit.record(connection, "plan.deleted", "plan", name, at_ms=now, before=current)


def require_plan(connection: Connection, name: str) -> Plan:
    """The plan, held against deletion until the transaction ends, or ``INVALID``."""
    query = sa.select(plans).where(plans.c.name == name)
    row = connection.execute(query.with_for_update(read=True, key_share=True)).first()
    if row is None:
        known = connection.execute(sa.select(plans.c.name).order_by(plans.c.name).limit(20))
        there = ", ".join(known.scalars())
        raise TollwayError(Code.INVALID, f"there is no plan {name[:80]!r}; there is: {there}")
    return _of_row(row)


def _find(connection: Connection, name: str, *, lock: bool = False) -> Plan | None:
    query = sa.select(plans).where(plans.c.name == name)
    # The full lock, also against those who only rely on the plan's being there.
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _of_row(row)


def _insert(connection: Connection, name: str, request: PlanRequest, now: int) -> Plan:
    row = {
        "name": name,
        "terms": request.model_dump_json(),
        "created_ms": now,
        "updated_ms": now,
    }
    connection.execute(sa.insert(plans).values(row))
    made = _plan(name, request, rfc3339(now), rfc3339(now))
    publish_if_new(connection, "plan", name, plan_document(name, request))
    audit.record(connection, "plan.created", "plan", name, at_ms=now, after=made)
    return made


def _uses(connection: Connection, name: str) -> int:
    table = subscriptions.c
    query = (
        sa.select(sa.func.count())
        .select_from(subscriptions)
        .where(sa.or_(table.plan == name, table.requested_plan == name))
    )
    return int(connection.execute(query).scalar_one())


def _missing(name: str) -> TollwayError:
    return TollwayError(Code.NOT_FOUND, f"there is no plan {name[:80]!r}")


def _of_row(row: sa.Row[tuple[object, ...]]) -> Plan:
    m = row._mapping
    request = PlanRequest.model_validate_json(m["terms"])
    return _plan(m["name"], request, rfc3339(m["created_ms"]), rfc3339(m["updated_ms"]))


def _plan(name: str, request: PlanRequest, created_at: str, updated_at: str) -> Plan:
    return Plan(
        **dict(request),
        name=name,
        built_in=name in BUILT_IN,
        created_at=created_at,
        updated_at=updated_at,
    )


def _request(plan: Plan) -> PlanRequest:
    return PlanRequest(**{field: getattr(plan, field) for field in PlanRequest.model_fields})
