"""The registry as a whole: everything built from a database, a blob store and settings.

database = Database(settings.database_url)
registry = create_registry(database, open_blob_store(location), registry_settings, ...)
app.state.registry = registry
app.include_router(registry_router(require), prefix="/api/v1")
"""

import msgspec

from registry.aliases import Aliases
from registry.approval_desk import Desk
from registry.approvals import Approvals
from registry.blobs import Blobs
from registry.blobstore import BlobStore
from registry.canary_bodies import GuardedOf, unguarded
from registry.clock import Clock, system_clock
from registry.collect import Collected, Collector
from registry.deprecation import Deprecations
from registry.evidence import Evidences
from registry.gates import Gates
from registry.inspect import Inspect, inspect_bundle
from registry.integrity import Integrity
from registry.lifecycle import Lifecycle
from registry.models import Models
from registry.permissions import Permissions
from registry.publish import Publisher
from registry.remote import InspectRemote, no_remotes
from registry.requirements import RequirementsBook
from registry.rollouts import Rollouts
from registry.seals import Sealer
from registry.settings import RegistrySettings
from registry.status import HeldBy, ServingStatusOf, held_by_nobody, no_engines
from registry.store.database import Database
from registry.store.owners import NO_OWNERS, Owners
from registry.store.sealing import seal_with
from registry.store.sponsors import ANY_SPONSOR, Sponsors
from registry.uploads import Uploads
from registry.versions import Versions


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """The parts. Each is thread-safe and blocks: async code calls them in threads."""

    database: Database
    settings: RegistrySettings
    models: Models
    permissions: Permissions
    versions: Versions
    publisher: Publisher
    lifecycle: Lifecycle
    requirements: RequirementsBook
    evidence: Evidences
    deprecations: Deprecations
    gates: Gates
    approvals: Approvals
    desk: Desk
    aliases: Aliases
    rollouts: Rollouts
    blobs: Blobs
    uploads: Uploads
    collector: Collector
    integrity: Integrity
    guarded: GuardedOf

    def maintain(self) -> Collected:
        """What is to be done every so often: drop what expired or crashed, collect garbage."""
        self.uploads.expire()
        self.publisher.clean()
        return self.collector.collect()


def create_registry(
    database: Database,
    store: BlobStore,
    settings: RegistrySettings,
    *,
    clock: Clock = system_clock,
    serving_status: ServingStatusOf = no_engines,
    inspect: Inspect = inspect_bundle,
    inspect_remote: InspectRemote = no_remotes,
    owners: Owners = NO_OWNERS,
    sponsors: Sponsors = ANY_SPONSOR,
    held_by: HeldBy = held_by_nobody,
    sealer: Sealer | None = None,
    guarded: GuardedOf = unguarded,
) -> Registry:
    """Build the registry on an already migrated ``database``. ``sealer``: None makes a key that no
    gateway will ever know."""
    sealer = sealer or Sealer.for_itself()
    seal_with(database, sealer)
    settings.staging_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    models = Models(database, clock, owners)
    permissions = Permissions(database)
    versions = Versions(database, serving_status)
    blobs = Blobs(database, store, clock)
    return Registry(
        database=database,
        settings=settings,
        models=models,
        permissions=permissions,
        versions=versions,
        publisher=Publisher(database, blobs, settings, clock, permissions, inspect, inspect_remote),
        lifecycle=Lifecycle(database, versions, serving_status, clock, held_by),
        requirements=RequirementsBook(database, clock, sponsors),
        evidence=Evidences(database, versions, clock),
        deprecations=Deprecations(database, clock, settings.retired_retention_s, held_by),
        gates=Gates(database, versions),
        approvals=Approvals(database, versions, sealer, clock),
        desk=Desk(database),
        aliases=Aliases(database, clock, serving_status),
        rollouts=Rollouts(database, clock, serving_status),
        blobs=blobs,
        uploads=Uploads(database, blobs, settings, clock),
        collector=Collector(database, store, settings, clock),
        integrity=Integrity(database, store, clock),
        guarded=guarded,
    )
