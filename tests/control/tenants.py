"""Two tenants with everything that a tenant can have, made through the API where it can be."""

from typing import NamedTuple

import httpx
import msgspec
from sqlalchemy import Connection

from protocol.configuration import EngineDoc, VersionState, WorkerDoc
from protocol.manifest import Blob, Manifest, Tensor, canonical_json, sha256_digest
from protocol.usage import UsageRecord
from registry.store import aliases, blobs, versions
from registry.store.versions import VersionRecord
from tests.control.running import Control, connect

PASSWORD = "correct horse battery staple"


def marker(name: str) -> str:
    """A text that nobody but the tenant should ever see."""
    return f"mark-of-{name}"


class Tenant(NamedTuple):
    """A publisher and a consumer of one tenant, and the ids of what is theirs. Every name has the
    tenant's own in it, so that a leak shows as text."""

    name: str
    publisher: httpx.AsyncClient
    consumer: httpx.AsyncClient
    private: str
    """A model of theirs that is not published."""
    public: str
    """One that is."""
    digest: str
    """The blob of the private model."""
    upload: str
    application: str
    key: str
    token: str
    session: str
    webhook: str

    @property
    def marker(self) -> str:
        """Stands in every text that is not a name: where it shows, something has leaked."""
        return marker(self.name)

    @property
    def owner(self) -> str:
        """The publisher's name."""
        return f"{self.name}-publisher"

    @property
    def caller(self) -> str:
        """The consumer's name; that of their consumer as well."""
        return f"{self.name}-consumer"

    async def close(self) -> None:
        """Close the clients."""
        await self.publisher.aclose()
        await self.consumer.aclose()


async def user(control: Control, name: str, role: str) -> tuple[httpx.AsyncClient, str]:
    """A logged in user, and the id of their session."""
    # The title of an owner is in the catalogue; what else an account holds is its own.
    email = f"{marker(name.partition('-')[0])}@example.com"
    body = {"role": role, "password": PASSWORD, "title": "Data team", "email": email}
    made = await control.admin.put(f"/api/v1/users/{name}", json=body)
    assert made.status_code == 201, made.text
    session = await control.anonymous.post(
        "/api/v1/sessions", json={"name": name, "password": PASSWORD}
    )
    assert session.status_code == 201, session.text
    return connect(control.app, session.json()["secret"]), session.json()["id"]


async def tenant(control: Control, name: str) -> Tenant:
    """Make a tenant."""
    publisher, session = await user(control, f"{name}-publisher", "publisher")
    consumer, _ = await user(control, f"{name}-consumer", "consumer")
    digest = ""
    for model, state in ((f"{name}-private", "validated"), (f"{name}-public", "published")):
        body = {"title": f"{model} title", "description": marker(name) * (state != "published")}
        made = await publisher.put(f"/api/v1/models/{model}", json=body)
        assert made.status_code == 201, made.text
        found = register(control, model, f"{name}-publisher", state)  # type: ignore[arg-type]
        digest = digest or found
    application = f"{name}-app"
    body = {"consumer": f"{name}-consumer", "title": marker(name)}
    done = await control.admin.put(f"/api/v1/applications/{application}", json=body)
    assert done.status_code == 201, done.text
    plan = {"plan": "unlimited"}
    for model in (f"{name}-private", f"{name}-public"):
        path = f"/api/v1/subscriptions/{application}/{model}"
        assert (await control.admin.put(path, json=plan)).status_code == 201
    key = await control.admin.post(
        "/api/v1/keys", json={"application": application, "label": marker(name)}
    )
    token = await publisher.post("/api/v1/tokens", json={"label": marker(name)})
    upload = await publisher.post(
        "/api/v1/blobs/uploads", json={"digest": sha256_digest(name.encode()), "size": 7}
    )
    hook = await publisher.post(
        "/api/v1/webhooks",
        # Disabled, so that nothing is ever sent to it.
        json={"url": "https://93.184.216.34/hook", "title": marker(name), "enabled": False},
    )
    assert hook.status_code == 201, hook.text
    observe(control, name, key.json()["id"])
    return Tenant(
        name=name,
        publisher=publisher,
        consumer=consumer,
        private=f"{name}-private",
        public=f"{name}-public",
        digest=digest,
        upload=upload.json()["id"],
        application=application,
        key=key.json()["id"],
        token=token.json()["id"],
        session=session,
        webhook=hook.json()["id"],
    )


def register(control: Control, model: str, by: str, state: VersionState, number: int = 1) -> str:
    """A version of a model, with a real blob but without an inspection; a published one is its
    stable one. The blob's digest."""
    services = control.services
    artifact = keep(control, f"bytes of {model}".encode() + b" again" * (number - 1), by)
    tensor = Tensor(name="x", datatype="FP32", shape=(-1, 2))
    manifest = Manifest(
        model=model,
        artifact=artifact,
        inputs=(tensor,),
        outputs=(tensor,),
        opsets={"": 17},
        ir_version=8,
    )
    with services.database.write() as connection:
        insert(connection, control, manifest, number, by, state)
        if state == "published":
            aliases.move(
                connection, model=model, alias="stable",
                previous=aliases.get(connection, model, "stable"), version=number, actor=by,
                at=services.clock(),
            )  # fmt: skip
    return artifact.digest


def keep(control: Control, data: bytes, by: str) -> Blob:
    """A blob that the registry has."""
    digest = sha256_digest(data)
    source = control.settings.own_dir / "bytes"
    source.write_bytes(data)
    control.services.registry.blobs.add(digest, source, by)
    return Blob(digest=digest, size=len(data))


def insert(
    connection: Connection,
    control: Control,
    manifest: Manifest,
    number: int,
    by: str,
    state: VersionState,
) -> VersionRecord:
    """A loaded version, of a model that is there and a blob that :func:`keep` has kept."""
    text = canonical_json(manifest)
    record = VersionRecord(
        model=manifest.model,
        number=number,
        digest=sha256_digest(text),
        manifest=manifest,
        state=state,
        loaded=True,
        created_at=control.services.clock(),
        created_by=by,
    )
    assert manifest.artifact is not None
    blobs.lock(connection, {manifest.artifact.digest})
    versions.insert(connection, record, text)
    return record


def observe(control: Control, name: str, key: str) -> None:
    """A worker that runs the tenant's models, and a call that was counted."""
    engine = EngineDoc(
        model=f"{name}-private", version=1, slot=0, address="unix:/e", state="failed",
        error=marker(name),
    )  # fmt: skip
    control.services.workers.report(WorkerDoc(id=f"worker-{len(name)}", engines=(engine,)))
    record = UsageRecord(
        control.clock.now_ms, f"{name}-app", key, f"{name}-private", 1, "stable", 200, 1, 0, 0, 0,
        0, 0, "",
    )  # fmt: skip
    line = msgspec.json.encode(record) + b"\n"
    control.services.usage.store.ingest(name, "segment", 0, line)
