"""Models for pages of the catalogue: published without a file that anything could run."""

from protocol.configuration import VersionState
from protocol.evidence import ClassEvidence, Evidence, Importance, Measured
from protocol.manifest import Column, Manifest, Task, Tensor
from registry.store import aliases, evidence, models
from registry.store.models import ModelSettings
from tests.control.running import Control
from tests.control.tenants import insert, keep

COLUMNS = (
    Column(name="age", type="integer", input="x", index=0, minimum=18, maximum=90),
    Column(name="region", type="string", input="r", categories=("north", "south"), null="?"),
    Column(name="income", type="float", input="x", index=1, minimum=0, maximum=90_000.5),
)


def publish(
    control: Control,
    name: str,
    number: int = 1,
    *,
    title: str = "",
    description: str = "",
    by: str = "admin",
    columns: tuple[Column, ...] = COLUMNS,
    labels: tuple[str, ...] = ("no", "yes"),
    task: Task = "classification",
    accuracy: float | None = None,
    state: VersionState = "published",
) -> None:
    """A version of a model, stable if it is the first."""
    services = control.services
    artifact = keep(control, f"{name} {number}".encode(), by)
    manifest = Manifest(
        model=name,
        task=task,
        artifact=artifact,
        inputs=(
            Tensor(name="x", datatype="FP32", shape=(-1, 2)),
            Tensor(name="r", datatype="BYTES", shape=(-1, 1)),
        ),
        outputs=(Tensor(name="label", datatype="BYTES", shape=(-1, 1)),),
        columns=columns,
        labels=labels,
        description=f"version {number} of {name}",
        opsets={"": 17},
        ir_version=8,
    )
    with services.database.write() as connection:
        if number == 1:
            settings = ModelSettings(title=title, description=description)
            models.insert(connection, name, settings, by, services.clock())
        record = insert(connection, control, manifest, number, by, state)
        if number == 1:
            aliases.move(
                connection, model=name, alias="stable", previous=None, version=1, actor=by,
                at=services.clock(),
            )  # fmt: skip
        if accuracy is not None:
            given = Evidence(
                model=name,
                version=number,
                manifest_digest=record.digest,
                rows=500,
                rows_digest=artifact.digest,
                main_metric="accuracy",
                metrics={"accuracy": Measured(value=accuracy, low=accuracy - 0.01, high=1.0)},
                classes=(ClassEvidence(label="yes", rows=9, metrics={"f1": Measured(value=0.5)}),),
                importance=(Importance(column="age", mean=0.2, deviation=0.01),),
            )
            evidence.insert(connection, given, actor=by, at=services.clock())


def requirements() -> dict[str, object]:
    """What a model has to fulfil, with a contract that is enforced."""
    return {
        "problem": "Decide on small loans",
        "owner": "Credit team",
        "criteria": ["accuracy.low >= 0.9", "abs(recall[segment=young] - recall) <= 0.05"],
        "segments": {"young": "age<30"},
        "constraints": {"regulatory": ["no postal code among the inputs"]},
        "contract": {
            "mode": "enforce",
            "rules": [
                {"column": "age", "minimum": 18, "maximum": 120, "nulls": False},
                {"column": "region", "categories": ["north", "south"]},
            ],
        },
    }
