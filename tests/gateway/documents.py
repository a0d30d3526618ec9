"""Configuration documents as control would send them."""

from pathlib import Path

import msgspec

from protocol.configuration import (
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

PEPPER = b"pepper-of-the-tests"

Changes = list[tuple[str, str, msgspec.Struct | None]]


def version(model: str, number: int, state: VersionState = "published") -> VersionDoc:
    manifest = Manifest(
        model=model,
        artifact=Blob(digest="sha256:" + "0" * 64, size=1),
        inputs=(Tensor(name="input", datatype="FP32", shape=(-1, 4)),),
        outputs=(Tensor(name="label", datatype="BYTES", shape=(-1,)),),
        opsets={"": 21},
        ir_version=10,
    )
    return VersionDoc(
        model=model,
        number=number,
        digest=f"sha256:{model}-{number}",
        state=state,
        loaded=True,
        manifest=manifest,
    )


class World:
    """A model ``iris`` with versions 1 (published), 2 (stable), 3 (staged), 4 (retired)."""

    def __init__(self) -> None:
        self.key = generate("live")
        self.stranger_key = generate("live")
        self.admin = generate("admin")

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
        for id_, secret, application, role in (
            ("k1", self.key, "shop", None),
            ("k2", self.stranger_key, "stranger", None),
            ("k3", self.admin, None, "admin"),
        ):
            hashed = secret_hash(secret.encode(), PEPPER)
            found.append(
                ("key", id_, KeyDoc(id=id_, hash=hashed, application=application, role=role))
            )
        return found


def worker(*addresses: tuple[int, Path], id: str = "w1") -> tuple[str, str, WorkerDoc]:
    """A worker with engines for (version of iris, socket)."""
    engines = tuple(
        EngineDoc(model="iris", version=n, slot=i, address=f"unix:{path}", state="ready")
        for i, (n, path) in enumerate(addresses)
    )
    return ("worker", id, WorkerDoc(id=id, engines=engines))
