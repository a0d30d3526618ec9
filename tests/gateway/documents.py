"""Configuration documents as control would send them."""

from pathlib import Path
from typing import Any

import msgspec

from protocol.configuration import (
    ApplicationDoc,
    EngineDoc,
    KeyDoc,
    ModelDoc,
    PlanDoc,
    SubscriptionDoc,
    VersionDoc,
    VersionState,
    WorkerDoc,
)
from protocol.keys import generate, secret_hash
from protocol.manifest import Blob, Manifest, Tensor
from tests.fixtures.seals import sealed

PEPPER = b"pepper-of-the-tests"
ORIGIN = "https://shop.example"

Changes = list[tuple[str, str, msgspec.Struct | None]]


def version(model: str, number: int, state: VersionState = "published") -> VersionDoc:
    manifest = Manifest(
        model=model,
        artifact=Blob(digest="sha256:" + "0" * 64, size=1),
        inputs=(Tensor(name="input", datatype="FP32", shape=(-1, 4)),),
        outputs=(Tensor(name="label", datatype="BYTES", shape=(-1,)),),
        opsets={"": 21},
        ir_version=10,
        description=f"version {number}",
    )
    document = VersionDoc(
        model=model, number=number, digest="", state=state, loaded=True, manifest=manifest
    )
    return sealed(document)


def digest(model: str, number: int) -> str:
    """Digest of the manifest of :func:`version`."""
    return version(model, number).digest


class World:
    """A model ``iris`` with versions 1 (published), 2 (stable), 3 (staged), 4 (retired)."""

    def __init__(self) -> None:
        self.key = generate("live")
        self.stranger_key = generate("live")
        self.admin = generate("admin")
        self.auditor = generate("user")
        self.publisher = generate("user")
        """Reaches the model ``secret`` alone."""
        self.far_key = generate("live")
        """Of ``shop``, for a network that no test calls from but through a proxy."""
        self.near_key = generate("live")
        """Of ``shop``, for loopback networks."""
        self.narrow_key = generate("live")
        """Of ``shop``, for scope ``metadata`` alone."""
        self.test_key = generate("test")
        """Of ``shop``, in environment ``test``."""
        self.page_key = generate("live")
        """Of ``pages``, which allows an origin; its plan is small."""

    def changes(self) -> Changes:
        states: dict[int, VersionState] = {
            1: "published",
            2: "published",
            3: "validated",
            4: "retired",
        }
        found: Changes = [
            ("version", f"iris/{n}", version("iris", n, state)) for n, state in states.items()
        ]
        found.append(
            ("model", "iris", ModelDoc(name="iris", aliases={"stable": 2, "old": 1, "gone": 4}))
        )
        found.append(("version", "secret/1", version("secret", 1, "registered")))
        found.append(("plan", "unlimited", PlanDoc(name="unlimited")))
        found.append(
            (
                "subscription",
                "shop/iris",
                SubscriptionDoc(application="shop", model="iris", plan="unlimited"),
            )
        )
        found += self._pages()
        return found + [("key", key.id, key) for key in self._keys()]

    @staticmethod
    def _pages() -> Changes:
        plan = PlanDoc(name="small", max_body_bytes=100, max_rows=2, scopes=("predict",))
        subscription = SubscriptionDoc(application="pages", model="iris", plan="small")
        application = ApplicationDoc(name="pages", consumer="acme", origins=(ORIGIN,))
        return [
            ("plan", "small", plan),
            ("subscription", "pages/iris", subscription),
            ("application", "pages", application),
        ]

    def _keys(self) -> list[KeyDoc]:
        return [
            key("k1", self.key, application="shop"),
            key("k2", self.stranger_key, application="stranger"),
            key("k3", self.admin, role="admin"),
            key("k4", self.auditor, role="auditor"),
            key("k5", self.publisher, role="publisher", models=("secret",)),
            key("k6", self.far_key, application="shop", networks=("203.0.113.0/24",)),
            key("k7", self.near_key, application="shop", networks=("::ffff:127.0.0.0/104", "::1")),
            key("k8", self.narrow_key, application="shop", scopes=("metadata",)),
            key("k9", self.test_key, application="shop", environment="test"),
            key("k10", self.page_key, application="pages"),
        ]


def key(id: str, secret: str, **fields: Any) -> KeyDoc:
    """The document of a key with this secret."""
    return KeyDoc(id=id, hash=secret_hash(secret.encode(), PEPPER), **fields)


def worker(*addresses: tuple[int, Path], id: str = "w1") -> tuple[str, str, WorkerDoc]:
    """A worker with engines for (version of iris, socket)."""
    engines = tuple(
        EngineDoc(model="iris", version=n, slot=i, address=f"unix:{path}", state="ready")
        for i, (n, path) in enumerate(addresses)
    )
    return ("worker", id, WorkerDoc(id=id, engines=engines))
