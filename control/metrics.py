"""Control's own Prometheus metrics. Labels are bounded: job names and outcomes."""

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from control.audit.log import Standing


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._records = Counter(
            "tollway_control_usage_records",
            "Usage records counted.",
            registry=self.registry,
        )
        self._damaged = Counter(
            "tollway_control_usage_damaged_lines",
            "Lines of usage logs that were not records, and could not be counted.",
            registry=self.registry,
        )
        self._captures = Counter(
            "tollway_control_captures",
            "Payloads of predictions that were stored.",
            registry=self.registry,
        )
        self._jobs = Counter(
            "tollway_control_job_runs",
            "Runs of background jobs, by job and outcome.",
            ("job", "outcome"),
            registry=self.registry,
        )
        self._lost = Counter(
            "tollway_control_workers_lost",
            "Workers dropped because they had been silent for too long.",
            registry=self.registry,
        )

        self._deliveries = Counter(
            "tollway_control_webhook_attempts",
            "Attempts at webhook deliveries, by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self._queue = Gauge(
            "tollway_control_webhook_queue",
            "Webhook deliveries that are still to be made.",
            registry=self.registry,
        )
        self._audit_entries = Gauge(
            "tollway_control_audit_entries",
            "Entries in the audit log.",
            registry=self.registry,
        )
        self._audit_signed = Gauge(
            "tollway_control_audit_checkpoint_entries",
            "Entries that the newest checkpoint covers.",
            registry=self.registry,
        )
        self._audit_verified = Gauge(
            "tollway_control_audit_verified_timestamp_seconds",
            "When the audit log was last verified by this process; 0: not yet.",
            registry=self.registry,
        )
        self._audit_findings = Gauge(
            "tollway_control_audit_findings",
            "What the last verification of the audit log found.",
            registry=self.registry,
        )

    def captures(self, kept: int) -> None:
        """So many payloads were stored."""
        self._captures.inc(kept)

    def webhook_attempt(self, outcome: str) -> None:
        """An attempt has ended: ``delivered``, ``pending``, ``failed`` or ``refused``."""
        self._deliveries.labels(outcome).inc()

    def webhook_queue(self, pending: int) -> None:
        """So many deliveries are to be made."""
        self._queue.set(pending)

    def audit(self, standing: Standing) -> None:
        """How the audit log stands."""
        self._audit_entries.set(standing.entries)
        if standing.checkpoint is not None:
            self._audit_signed.set(standing.checkpoint.seq)
        if standing.verified is not None:
            self._audit_verified.set(standing.verified.at_ms / 1000)
            report = standing.verified.report
            self._audit_findings.set(len(report.findings) + report.further)

    def usage(self, records: int, damaged: int) -> None:
        """A batch was taken in."""
        self._records.inc(records)
        self._damaged.inc(damaged)

    def job(self, name: str, *, failed: bool) -> None:
        """A background job has ended."""
        self._jobs.labels(name, "failed" if failed else "done").inc()

    def workers_lost(self, count: int) -> None:
        """Silent workers were dropped."""
        self._lost.inc(count)
