"""Counting for guarded canaries: exactly what is ingested while a run is active, once."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.rollouts.progress import ACTIVE, Tally
from control.store.canary_tables import canary_counts, canary_runs
from protocol.usage import UsageRecord

CANARY: Final = "canary"
STABLE: Final = "stable"
FAULT_STATUS: Final = 500
"""Answers with this status and above count against the version; of lower ones those on which the
model itself failed. The others are the caller's own."""
SKEW_MS: Final = 60_000
"""How far a gateway's clock may be behind control's without its first answers being left out."""
_FIELDS: Final = Tally.__struct_fields__
_active: Final = sa.select(
    canary_runs.c.id,
    canary_runs.c.model,
    canary_runs.c.version,
    canary_runs.c.stable,
    canary_runs.c.over_p99_us,
    canary_runs.c.over_limit_us,
    canary_runs.c.began_ms,
).where(canary_runs.c.state.in_(sorted(ACTIVE)))
_adding: Final = (
    sa.update(canary_counts)
    .where(
        canary_counts.c.run == sa.bindparam("of_run"),
        canary_counts.c.variant == sa.bindparam("of_variant"),
    )
    .values({name: canary_counts.c[name] + sa.bindparam(f"more_{name}") for name in _FIELDS})
)


class _Counted(NamedTuple):
    """A run that is being counted for."""

    id: int
    over_p99_us: int | None
    over_limit_us: int | None
    began_ms: int


def begin(connection: Connection, run: int) -> None:
    """Start a run's counts at nothing."""
    rows = [
        {"run": run, "variant": variant, **dict.fromkeys(_FIELDS, 0)}
        for variant in (CANARY, STABLE)
    ]
    connection.execute(sa.insert(canary_counts), rows)


def read(connection: Connection, run: int) -> tuple[Tally, Tally]:
    """What was counted of canary and stable."""
    query = sa.select(canary_counts).where(canary_counts.c.run == run)
    found = {
        row.variant: Tally(**{name: getattr(row, name) for name in _FIELDS})
        for row in connection.execute(query)
    }
    return found.get(CANARY, Tally()), found.get(STABLE, Tally())


def add(connection: Connection, records: Sequence[UsageRecord]) -> None:
    """Count what a batch holds for the runs that are active, in the batch's own transaction.

    A record counts for a run when it was answered by the run's canary as the canary, or by its
    stable version as the stable one, after the run began, give or take what clocks differ by:
    calls that name a version do not.
    """
    runs: dict[tuple[str, int, str], _Counted] = {}
    for row in connection.execute(_active):
        counted = _Counted(row.id, row.over_p99_us, row.over_limit_us, row.began_ms)
        runs[row.model, row.version, CANARY] = counted
        runs[row.model, row.stable, STABLE] = counted
    if not runs:
        return
    sums: dict[tuple[int, str], list[int]] = {}
    for record in records:
        run = runs.get((record.model, record.version, record.variant))
        if run is None or record.at_ms < run.began_ms - SKEW_MS:
            continue
        tally = sums.setdefault((run.id, record.variant), [0] * len(_FIELDS))
        tally[0] += 1
        tally[1] += record.failed or record.status >= FAULT_STATUS
        if record.explanation:
            continue
        if run.over_p99_us is not None:
            tally[2] += 1
            tally[3] += record.total_us > run.over_p99_us
        if run.over_limit_us is not None:
            tally[4] += record.total_us > run.over_limit_us
    for (id, variant), tally in sorted(sums.items()):
        more = {f"more_{name}": value for name, value in zip(_FIELDS, tally, strict=True)}
        connection.execute(_adding, {"of_run": id, "of_variant": variant, **more})
