"""The parts of usage, built together: they share a database, marks and a lock."""

import threading
from typing import NamedTuple

from control.jobs import Job
from control.settings import ControlSettings
from control.store.quotas import Quotas
from control.store.refusals import Refusals
from control.store.statements import Statements
from control.store.usage import UsageStore
from control.store.usage_reading import UsageReports
from control.store.usage_tiers import Retention, UsageTiers
from registry.clock import Clock
from registry.store.database import Database

FOLD_DELAY_S = 5.0
FOLD_EVERY_S = 60.0
HOURLY_S = 3600.0
RETAIN_DELAY_S = 300.0


class UsageParts(NamedTuple):
    """Everything that counts, reports and bills usage. Blocking parts are called in threads."""

    store: UsageStore
    reports: UsageReports
    tiers: UsageTiers
    quotas: Quotas
    refusals: Refusals
    statements: Statements

    def jobs(self) -> list[Job]:
        """What has to be done from time to time."""
        return [
            Job("usage-fold", FOLD_DELAY_S, FOLD_EVERY_S, self.tiers.fold),
            Job("usage-statements", FOLD_DELAY_S, HOURLY_S, self.statements.close_months),
            Job("usage-retention", RETAIN_DELAY_S, HOURLY_S, self.tiers.retain),
        ]


def usage_parts(
    settings: ControlSettings, database: Database, clock: Clock, stop: threading.Event
) -> UsageParts:
    """Build them; jobs end early once ``stop`` is set."""
    retention = Retention(
        settings.usage_minutes_days, settings.usage_hours_days, settings.usage_days_days
    )
    return UsageParts(
        store=UsageStore(database, clock),
        reports=UsageReports(database),
        tiers=UsageTiers(database, clock, retention, stop.is_set),
        quotas=Quotas(database, clock),
        refusals=Refusals(database),
        statements=Statements(database, clock, settings.statement_grace_h, stop.is_set),
    )
