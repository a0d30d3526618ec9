"""A large configuration, as a gateway has it on its disk."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import msgspec

from protocol.configuration import (
    ApplicationDoc,
    Change,
    ChangePage,
    KeyDoc,
    ModelDoc,
    PlanDoc,
    SubscriptionDoc,
    VersionDoc,
)
from protocol.keys import generate, secret_hash
from protocol.manifest import (
    Blob,
    Column,
    Manifest,
    Tensor,
    canonical_json,
    sha256_digest,
)
from protocol.seals import Grounds, Seal, encoded_digest, seal_statement
from runtime.follower import ChangeFollower
from runtime.signatures import SigningKey, new_signing_key

VERSIONS = 3
"""Of each model; the last is the stable one."""
COLUMNS = 20
KEYS_OF_AN_APPLICATION = 5
SUBSCRIPTIONS_OF_AN_APPLICATION = 2


class Configuration:
    """``keys`` keys over ``models`` models. Every second key has scopes, every fourth networks."""

    def __init__(self, keys: int, models: int, pepper: bytes) -> None:
        self._models = models
        self._key = SigningKey(new_signing_key().encode(), "a key made just now")
        self.seal_public_pem = self._key.public_pem
        """The key that its versions' seals verify under."""
        self.changes: list[Change] = []
        self.callers: list[tuple[bytes, str]] = []
        """Credentials, each with a model that it may call."""
        self._add("plan", "standard", PlanDoc(name="standard"))
        for number in range(models):
            self._add_model(f"model-{number}")
        for number in range(keys):
            self._add_key(number, pepper)

    def _add(self, kind: str, key: str, document: msgspec.Struct) -> None:
        encoded = msgspec.Raw(msgspec.json.encode(document))
        self.changes.append(Change(len(self.changes) + 1, kind, key, encoded))

    def _add_model(self, name: str) -> None:
        columns = tuple(
            Column(
                name=f"feature_{i}", type="float", input="input", index=i, minimum=0.0, maximum=1.0
            )
            for i in range(COLUMNS)
        )
        manifest = Manifest(
            model=name,
            artifact=Blob(digest="sha256:" + "0" * 64, size=1),
            inputs=(Tensor(name="input", datatype="FP32", shape=(-1, COLUMNS)),),
            outputs=(Tensor(name="label", datatype="BYTES", shape=(-1,)),),
            columns=columns,
            opsets={"": 21},
            ir_version=10,
        )
        digest, encoded = sha256_digest(canonical_json(manifest)), encoded_digest(manifest)
        for number in range(1, VERSIONS + 1):
            version = VersionDoc(
                model=name,
                number=number,
                digest=digest,
                state="published",
                loaded=number == VERSIONS,
                manifest=manifest,
                seal=self._seal(name, number, digest, encoded),
            )
            self._add("version", f"{name}/{number}", version)
        self._add("model", name, ModelDoc(name=name, aliases={"stable": VERSIONS}))

    def _seal(self, model: str, number: int, digest: str, encoded: str) -> Seal:
        grounds = Grounds()
        statement = seal_statement(model, number, digest, "published", grounds, encoded)
        return Seal(
            grounds=grounds,
            encoded=encoded,
            signer=self._key.id,
            signature=self._key.sign(statement),
        )

    def _add_key(self, number: int, pepper: bytes) -> None:
        owner, nth = divmod(number, KEYS_OF_AN_APPLICATION)
        application = f"application-{owner}"
        subscribed = [
            f"model-{(owner + i) % self._models}" for i in range(SUBSCRIPTIONS_OF_AN_APPLICATION)
        ]
        if nth == 0:
            document = ApplicationDoc(name=application, consumer=f"consumer-{owner // 10}")
            self._add("application", application, document)
            for model in dict.fromkeys(subscribed):
                terms = SubscriptionDoc(application=application, model=model, plan="standard")
                self._add("subscription", f"{application}/{model}", terms)
        secret = generate("live").encode()
        key = KeyDoc(
            id=f"key-{number:020x}",
            hash=secret_hash(secret, pepper),
            application=application,
            scopes=("predict", "metadata") if number % 2 else None,
            networks=() if number % 4 else ("127.0.0.0/8", f"10.{number % 256}.0.0/16"),
        )
        self._add("key", key.id, key)
        self.callers.append((secret, subscribed[0]))

    def write(self, journal: Path) -> None:
        """Have a gateway's follower write its disk copy."""
        asyncio.run(self._follow(journal))

    async def _follow(self, journal: Path) -> None:
        page = ChangePage(
            stream="benchmark", reset=True, changes=self.changes, next=len(self.changes), more=False
        )
        content = msgspec.json.encode(page)

        async def answer(request: httpx.Request) -> httpx.Response:
            if int(request.url.params["after"]):
                await asyncio.Event().wait()  # nothing changes any more
            return httpx.Response(200, content=content)

        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
            follower = ChangeFollower(client, journal, lambda *_: None)
            following = asyncio.create_task(follower.run())
            await follower.synchronised.wait()
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
