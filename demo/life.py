"""The lives of the two models' versions: deployed, evaluated, approved, under way, on the way out.

What an earlier run has done is found again, by what a version is described with and by its state,
and is not done twice.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import tollway
from demo import faulty, people
from demo.training import Trained

DIAGNOSTICS: dict[str, object] = {
    "problem": "Tell malignant from benign masses well enough to order the day's findings by risk",
    "owner": "Diagnostics",
    "sponsor": people.SPONSOR,
    "criteria": [
        "accuracy >= 0.93",
        "recall[class=malignant] >= 0.85",
        "parity.label_mismatches == 0",
        "p50_ms <= 500 and size_mb <= 5",
        "beats(stable, accuracy, holdout, -0.03)",
    ],
    "constraints": {
        "regulatory": ["no name and no date of birth among the inputs"],
        "resource": ["one core"],
    },
}
PROGRESSION: dict[str, object] = {
    "problem": "Invite first those whose diabetes will progress fastest",
    "owner": "Outpatient clinic",
    "sponsor": people.SPONSOR,
    "criteria": ["r2 >= 0.25", "rmse <= 65", "p50_ms <= 500", "beats(stable, rmse, holdout, -5)"],
    "constraints": {"technical": ["the ten columns of the first version"]},
}
SUNSET = timedelta(days=45)
STEPS = [
    tollway.CanaryStep(percent=percent, min_requests=400, min_duration_s=300)
    for percent in (10, 25, 50)
]
CAREFUL = tollway.Guard(max_error_rate_increase=0.01, p99_ratio=3, max_disagreement=0.1)
OF_ERRORS = tollway.Guard(max_error_rate_increase=0.02, p99_ratio=None)


class Life:
    """One model, by its publisher and its sponsor."""

    def __init__(
        self,
        publisher: tollway.Client,
        sponsor: tollway.Client,
        name: str,
        say: Callable[[str], None],
    ) -> None:
        self._publisher = publisher
        self._sponsor = sponsor
        self._name = name
        self._say = say
        self._present: dict[str, tollway.Version] = {}
        try:
            found = publisher.versions(name)
        except tollway.NotFoundError:
            return  # the first run on this data directory
        self._present = {one.manifest.description: one for one in found}

    def stage(self, model: Trained) -> tollway.Version:
        """The version that is this model, loaded, with evidence and without traffic yet."""
        found = self._present.get(model.description)
        if found is not None:
            self._say(f"version {found.number} is there already")
            return found
        version = self._publisher.deploy(
            model.estimator,
            name=self._name,
            X=model.X,
            y=model.y,
            stage=True,
            description=model.description,
            metrics=model.metrics,
            progress=self._steps(),
        )
        error = version.parity.max_abs_error if version.parity else float("nan")
        self._say(f"version {version.number} deployed, largest difference {error:.2g}")
        self._publisher.evaluate(
            self._name,
            version.number,
            model.X_test,
            model.y_test,
            importance_repeats=2,
            resamples=300,
            latency_requests=50,
            progress=lambda _: None,
        )
        return version

    def promote(self, version: tollway.Version) -> tollway.Version:
        """Give it the traffic, unless it has gone that far before."""
        if version.state in ("validated", "approved", "registered"):
            version = self._publisher.promote(self._name, version.number)
        return version

    def require(self, requirements: dict[str, object]) -> None:
        """State what versions have to fulfil, unless it has been."""
        if self._publisher.requirements(self._name) is None:
            self._publisher.set_requirements(self._name, requirements)

    def approve(self, version: tollway.Version, reason: str) -> None:
        """The sponsor's word, unless it was given."""
        if self._publisher.gate(self._name, version.number).approval.state != "given":
            self._publisher.ask_approval(self._name, version.number)
            self._sponsor.approve_version(self._name, version.number, reason)
            self._say(f"version {version.number} approved by {people.SPONSOR}")

    def ask(self, version: tollway.Version, note: str) -> None:
        """Ask for the sponsor's word, unless they have spoken."""
        if self._publisher.gate(self._name, version.number).approval.state == "missing":
            self._publisher.ask_approval(self._name, version.number, note)
            self._say(f"version {version.number} waits for the approval of {people.SPONSOR}")

    def end(self, version: tollway.Version, successor: tollway.Version) -> None:
        """Deprecate a version that is published still."""
        if version.state != "published":
            return
        self._publisher.deprecate(
            self._name,
            version.number,
            sunset=datetime.now(UTC) + SUNSET,
            successor=successor.number,
            note=f"Version {successor.number} misses fewer malignant masses.",
        )
        self._say(f"version {version.number} deprecated in favour of {successor.number}")

    def watch(self, version: tollway.Version) -> None:
        """Make a version a guarded canary and a shadow, unless it was one before."""
        guarded = self._publisher.rollout(self._name).guarded
        if guarded is not None and guarded.version == version.number:
            return
        number, reason = version.number, "as good, at half of the computing time"
        self._publisher.publish(self._name, number)
        self._publisher.shadow(self._name, number, reason="its answers are compared")
        self._publisher.canary(self._name, number, steps=STEPS, guard=CAREFUL, reason=reason)
        self._say(f"version {number} is a guarded canary")

    def go_wrong(self, model: Trained) -> bool:
        """Give a version with a defect to half of the applications, guarded. False where an earlier
        run has done it, or requirements hold it back."""
        if faulty.CHANGES in self._present or self._publisher.requirements(self._name) is not None:
            return False
        version = self._publisher.deploy(
            faulty.with_a_short_table(model),
            name=self._name,
            X=faulty.rows_it_knows(model),
            stage=True,
            description=faulty.CHANGES,
            progress=self._steps(),
        )
        self._publisher.canary(
            self._name,
            version.number,
            steps=[tollway.CanaryStep(percent=50, min_requests=1000, min_duration_s=600)],
            guard=OF_ERRORS,
            reason="age matters more than the first version knows",
        )
        self._say(f"version {version.number} is a guarded canary, and has a defect")
        return True

    def is_rolled_back(self) -> bool:
        """Whether the guard has ended the canary."""
        guarded = self._publisher.rollout(self._name).guarded
        return guarded is not None and guarded.over

    def _steps(self) -> Callable[[str], None] | None:
        return (lambda _: None) if sys.stdout.isatty() else self._say
