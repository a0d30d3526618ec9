"""The parts of the control role, built from settings; no web framework here."""

import threading
from typing import NamedTuple

import anyio.to_thread
from anyio import CapacityLimiter

from control.audit.answered import Answered
from control.audit.checkpoints import FILE, PUBLIC, Checkpoints, open_signer, record_key
from control.audit.log import AuditLog
from control.catalogue import Latencies
from control.evaluations.runs import Evaluations
from control.identity.accounts import Accounts, build_accounts
from control.identity.authentication import Authenticator, ensure_admin_token
from control.identity.failed_logins import FailedLogins
from control.identity.issuer_tokens import IssuerTokens
from control.identity.oidc import OidcLogins
from control.identity.throttle import Throttle
from control.internal import ClusterToken
from control.jobs import InterruptibleStore, Job, Jobs, Stopped
from control.metrics import Metrics
from control.notifier import ChangeNotifier
from control.portal.form_keys import portal_key
from control.portal.streams import Streams
from control.receipts import Receipts
from control.rollouts.comparisons import from_shadows
from control.rollouts.controller import Controller
from control.rollouts.operations import Canaries
from control.rollouts.output import guarded_by
from control.seal_keys import SealKeys
from control.settings import ControlSettings
from control.store import history, schema
from control.store.captures import Captures
from control.store.catalogue import Catalogue
from control.store.configuration import Configurations
from control.store.directory import Directory
from control.store.disagreements import DisagreementStore
from control.store.evaluation_runs import EvaluationRunStore
from control.store.gateways import Gateways
from control.store.grants import ModelOwners
from control.store.issuers import Issuers
from control.store.keys import Keys
from control.store.mirrored import MirroredStore
from control.store.pin_rows import pinned_by
from control.store.pins import Pins
from control.store.plans import Plans
from control.store.publishing import Publishing
from control.store.receipts import Epochs
from control.store.rotation import drop_ended_overlaps
from control.store.sessions import Sessions
from control.store.sponsors import ModelSponsors
from control.store.stream import ObservedDatabase, Stream
from control.store.subscriptions import Subscriptions
from control.store.tokens import Tokens
from control.store.workers import Workers
from control.threads import Threads, separate_threads
from control.transition_parts import TransitionParts, transition_parts
from control.usage_parts import HOURLY_S, UsageParts, usage_parts
from control.webhooks.composition import build_webhooks
from control.webhooks.service import Webhooks
from registry.blobstore import BlobStore, open_blob_store
from registry.clock import Clock
from registry.integrity import Integrity
from registry.remote import RemoteInspector
from registry.service import Registry, create_registry
from registry.settings import RegistrySettings
from runtime.files import secret_file
from runtime.logs import logger
from runtime.release import software_version
from runtime.remote_credentials import RemoteCredentials
from runtime.targets import Targets, networks

GC_DELAY_S = 60.0
SCAN_DELAY_S = 900.0
COMPACT_CHECK_S = 300.0
DAILY_S = 24 * 3600.0
LOST_CHECK_S = 2.0
CANARY_CHECK_S = 1.0
SESSIONS_S = 60.0
FLUSH_S = 10.0
CAPTURES_S = 600.0
OVERLAP_CHECK_S = 60.0
"""How often ended secrets are forgotten. They stop working at their moment, without this."""
CHECKPOINT_CHECK_S = 2.0
VERIFY_DELAY_S = 300.0


class Services(NamedTuple):
    """Everything that routes are made of. Blocking parts are called in threads."""

    settings: ControlSettings
    clock: Clock
    database: ObservedDatabase
    registry: Registry
    seal_public_pem: str
    """The key by which gateways verify the seals of versions."""
    directory: Directory
    issuers: Issuers
    issuer_tokens: IssuerTokens
    oidc: OidcLogins
    plans: Plans
    subscriptions: Subscriptions
    pins: Pins
    keys: Keys
    tokens: Tokens
    accounts: Accounts
    workers: Workers
    gateways: Gateways
    usage: UsageParts
    disagreements: DisagreementStore
    mirrored: MirroredStore
    evaluations: Evaluations
    canaries: Canaries
    stream: Stream
    notifier: ChangeNotifier
    authenticator: Authenticator
    failed_logins: FailedLogins
    checkpoints: Checkpoints
    audit: AuditLog
    cluster_token: ClusterToken
    metrics: Metrics
    webhooks: Webhooks
    configurations: Configurations
    transitions: TransitionParts
    jobs: Jobs
    answered: Answered
    throttle: Throttle
    epochs: Epochs
    receipts: Receipts
    captures: Captures
    catalogue: Catalogue
    latencies: Latencies
    publishing: Publishing
    portal_key: bytes
    """The secret behind the tokens of the portal's forms."""
    streams: Streams
    threads: Threads


def build(settings: ControlSettings, clock: Clock) -> Services:
    """Migrate the database, make the secrets that are missing, and build the parts.

    Raises ``TollwayError`` for a database of a newer version or an admin token that is none, and
    ``OSError`` or SQLAlchemy's errors where files or the database cannot be reached.
    """
    settings.own_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    pepper = secret_file(settings.key_pepper_path)
    cluster_token = ClusterToken(secret_file(settings.cluster_token_path))
    database, stream, notifier = _open_database(settings)
    history.record_release(database, clock(), software_version())
    tokens = Tokens(database, clock)
    failed_logins = FailedLogins(database, clock)
    signer = open_signer(settings.audit_key_path, settings.audit_dir)
    record_key(database, signer, clock())
    checkpoints = Checkpoints(
        database,
        clock,
        signer,
        settings.audit_dir / FILE,
        every_entries=settings.audit_checkpoint_entries,
        every_ms=int(settings.audit_checkpoint_interval_s * 1000),
    )
    log = AuditLog(database, clock, settings.audit_dir / PUBLIC, settings.audit_dir / FILE)
    ensure_admin_token(settings.admin_token_path, tokens, pepper)
    plans = Plans(database, clock)
    plans.write_built_in()
    accounts = build_accounts(settings, database, pepper, clock)
    issuers = Issuers(database, clock, allow_http=settings.jwks_allow_http)
    issuer_tokens = IssuerTokens(settings, issuers, clock)
    gateways = Gateways(database, clock, int(settings.gateway_lost_s * 1000))
    workers = Workers(database, clock, int(settings.worker_lost_s * 1000), gateways.remotes)
    disagreements = DisagreementStore(database, clock, settings.disagreement_days)
    controller = Controller(database, clock, workers.status, from_shadows(disagreements))
    canaries = Canaries(database, clock, workers.status, controller.look)
    store = open_blob_store(settings.blobs)
    seals = SealKeys(settings.seal_key_path, settings.seal_dir)
    registry = create_registry(
        database,
        store,
        RegistrySettings(
            staging_dir=settings.own_dir / "staging",
            max_artifact_bytes=settings.max_artifact_bytes,
            gc_grace_s=settings.gc_grace_s,
            retired_retention_s=settings.retired_retention_d * DAILY_S,
            upload_ttl_s=settings.upload_ttl_s,
        ),
        clock=clock,
        serving_status=workers.status,
        inspect_remote=RemoteInspector(
            Targets(networks(settings.remote_allowed_networks), "TOLLWAY_REMOTE_ALLOWED_NETWORKS"),
            RemoteCredentials(settings.remote_credentials_path).secret,
            settings.remote_ca_file,
        ),
        owners=ModelOwners(),
        held_by=pinned_by,
        sponsors=ModelSponsors(),
        sealer=seals.sealer,
        guarded=guarded_by(canaries),
    )
    epochs = Epochs(database, clock, settings.usage_days_days)
    seals.start(database, clock)
    captures = Captures(database, clock, settings.capture_model_bytes)
    metrics = Metrics()
    webhooks = build_webhooks(settings, database, clock, metrics)
    stop = threading.Event()
    usage = usage_parts(settings, database, clock, stop)
    transitions = transition_parts(settings, registry, disagreements, captures, workers, clock)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        registry=registry,
        seal_public_pem=seals.sealer.public_pem,
        directory=Directory(database, clock),
        issuers=issuers,
        issuer_tokens=issuer_tokens,
        oidc=OidcLogins(
            settings,
            issuers,
            issuer_tokens,
            accounts.federated,
            accounts.attempts,
            failed_logins,
            pepper,
        ),
        plans=plans,
        subscriptions=Subscriptions(database, clock),
        pins=Pins(database, clock, workers.status),
        keys=Keys(database, pepper, clock, settings.max_keys_per_application),
        tokens=tokens,
        accounts=accounts,
        workers=workers,
        gateways=gateways,
        usage=usage,
        disagreements=disagreements,
        mirrored=MirroredStore(database, clock),
        evaluations=Evaluations(settings, clock, EvaluationRunStore(database, clock)),
        canaries=canaries,
        stream=stream,
        notifier=notifier,
        authenticator=Authenticator(
            accounts.credentials, pepper, failed_logins, issuer_tokens, accounts.federated
        ),
        failed_logins=failed_logins,
        checkpoints=checkpoints,
        audit=log,
        cluster_token=cluster_token,
        metrics=metrics,
        webhooks=webhooks,
        configurations=Configurations(database, clock, ModelOwners(), workers.status),
        transitions=transitions,
        jobs=_jobs(
            settings,
            registry,
            store,
            workers,
            gateways,
            stream,
            webhooks,
            [
                *usage.jobs(),
                Job("disagreements", GC_DELAY_S, HOURLY_S, disagreements.retain),
                Job("epochs", GC_DELAY_S, HOURLY_S, epochs.retain),
                Job("captures", GC_DELAY_S, CAPTURES_S, captures.expire),
                *transitions.jobs(),
                # Traffic that fails does not wait for a scan of blobs.
                Job("canaries", CANARY_CHECK_S, CANARY_CHECK_S, controller.run, alone=True),
            ],
            _audit_jobs(settings, failed_logins, checkpoints, log, metrics, stop),
            metrics,
            accounts.sessions,
            clock,
            stop,
        ),
        answered=Answered(database, clock),
        throttle=Throttle(settings),
        epochs=epochs,
        receipts=Receipts(epochs, registry.versions, registry.permissions),
        captures=captures,
        catalogue=Catalogue(database),
        latencies=Latencies(usage.reports, clock),
        publishing=Publishing(database, workers.status),
        portal_key=portal_key(pepper),
        streams=Streams(),
        threads=separate_threads(),
    )


def _open_database(
    settings: ControlSettings,
) -> tuple[ObservedDatabase, Stream, ChangeNotifier]:
    # Asking for the newest change has a thread of its own: long polls do not wait for uploads.
    thread = CapacityLimiter(1)

    async def read_head() -> int:
        return await anyio.to_thread.run_sync(stream.head, limiter=thread)

    notifier = ChangeNotifier(read_head, settings.change_poll_ms / 1000)
    database = ObservedDatabase(settings.database, notifier.committed)
    stream = Stream(database)
    try:
        schema.upgrade(database)
    except BaseException:
        database.close()
        raise
    return database, stream, notifier


def _jobs(
    settings: ControlSettings,
    registry: Registry,
    store: BlobStore,
    workers: Workers,
    gateways: Gateways,
    stream: Stream,
    webhooks: Webhooks,
    other_jobs: list[Job],
    audit_jobs: list[Job],
    metrics: Metrics,
    sessions: Sessions,
    clock: Clock,
    stop: threading.Event,
) -> Jobs:
    integrity = Integrity(registry.database, InterruptibleStore(store, stop), clock)

    def drop_lost_workers() -> list[str]:
        lost = workers.drop_lost()
        metrics.workers_lost(len(lost))
        return lost

    def drop_overlaps() -> int:
        return drop_ended_overlaps(registry.database, clock)

    def compact_if_large() -> int:
        return stream.compact() if stream.surplus() > settings.compact_rows else 0

    def scan() -> None:
        report = integrity.scan()
        log = logger("integrity")
        for damage in report.damaged:
            log.error(
                "blob damaged",
                digest=damage.digest,
                problem=damage.problem,
                versions=", ".join(damage.versions),
            )
        log.info("blobs scanned", blobs=report.blobs, bytes=report.bytes)

    return Jobs(
        [
            Job("lost-workers", LOST_CHECK_S, LOST_CHECK_S, drop_lost_workers),
            Job("lost-gateways", LOST_CHECK_S, LOST_CHECK_S, gateways.drop_lost),
            Job("compact-large", LOST_CHECK_S, COMPACT_CHECK_S, compact_if_large),
            Job("compact-daily", DAILY_S, DAILY_S, stream.compact),
            Job("sessions", SESSIONS_S, SESSIONS_S, sessions.drop_expired),
            Job("key-overlaps", OVERLAP_CHECK_S, OVERLAP_CHECK_S, drop_overlaps),
            Job("webhook-deliveries", GC_DELAY_S, settings.gc_interval_s, webhooks.expire),
            Job("garbage", GC_DELAY_S, settings.gc_interval_s, registry.maintain),
            *audit_jobs,
            Job("integrity", SCAN_DELAY_S, settings.scan_interval_s, scan),
            *other_jobs,
        ],
        stop,
        metrics,
    )


def _audit_jobs(
    settings: ControlSettings,
    failed_logins: FailedLogins,
    checkpoints: Checkpoints,
    log: AuditLog,
    metrics: Metrics,
    stop: threading.Event,
) -> list[Job]:
    def make_checkpoint() -> None:
        checkpoints.make_if_due()
        metrics.audit(log.standing())

    def proceed() -> None:
        if stop.is_set():
            raise Stopped

    def verify() -> None:
        log.verify(proceed)

    return [
        Job("failed-logins", FLUSH_S, FLUSH_S, failed_logins.flush),
        # What has no checkpoint yet could be cut off unseen: it waits for no scan of blobs.
        Job("audit-checkpoint", 0, CHECKPOINT_CHECK_S, make_checkpoint, alone=True),
        Job("audit-verify", VERIFY_DELAY_S, settings.audit_verify_interval_s, verify, alone=True),
    ]
