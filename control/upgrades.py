"""What would change for an application if another version answered its calls."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from control.disagreement_report import HOUR_MS, DisagreementExample, example_of
from control.store.captures import Captures, Sought
from control.store.disagreements import DisagreementStore
from control.successor_answers import LOOKED_AT_HOURS, ShadowedAnswers
from control.transition_resources import AnswersOfSuccessor
from protocol.configuration import VersionState
from registry.clock import Clock, rfc3339
from registry.service import Registry

MAX_COUNTED: Final = 100
"""Captures that are counted; more are not told apart."""
MAX_EXAMPLES: Final = 20
_NO_SHADOW: Final = "no shadow has compared the two versions on this application's calls"


class UpgradePreview(BaseModel):
    """Whether an application's recent requests would get other answers from another version."""

    model_config = ConfigDict(frozen=True)

    application: str
    model: str
    from_version: int
    to_version: int
    to_state: VersionState
    sunset: str | None = Field(description="When `from_version` may go out of service.")
    answers: AnswersOfSuccessor
    examples: list[DisagreementExample] = Field(
        description="The application's own rows that differ most; none without the right to read "
        "its payloads, or where nothing may be kept."
    )
    captured: int = Field(
        description="Captured requests of the application that `from_version` answered, which can "
        "be scored again; 100 stands for more."
    )
    capture_percent: float = Field(description="Share of the model's predictions that is captured.")


class Upgrades:
    """Makes previews. Thread-safe; calls block."""

    def __init__(
        self,
        registry: Registry,
        disagreements: DisagreementStore,
        captures: Captures,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._disagreements = disagreements
        self._captures = captures
        self._clock = clock

    def preview(
        self,
        application: str,
        model: str,
        versions: tuple[int, int],
        *,
        callable_only: bool,
        payloads: bool,
    ) -> UpgradePreview:
        """The preview of going from one version to another. ``payloads``: whether example rows are
        shown; that they were is in the audit log. Raises ``VERSION_NOT_FOUND``."""
        before, after = (
            self._registry.versions.get(model, number, callable_only=callable_only)
            for number in versions
        )
        shadowed = ShadowedAnswers(self._disagreements, self._clock)
        known = shadowed.compared(model, *versions, [application])
        sought = Sought(model, application, before.number)
        ending = before.deprecation
        return UpgradePreview(
            application=application,
            model=model,
            from_version=before.number,
            to_version=after.number,
            to_state=after.state,
            sunset=None
            if ending is None or ending.sunset is None
            else rfc3339(ending.sunset * 1000),
            answers=known.get(application) or _unknown(),
            examples=self._examples(application, model, versions) if payloads else [],
            captured=len(self._captures.page(sought, MAX_COUNTED, None)),
            capture_percent=self._registry.models.get(model).capture_permille / 10,
        )

    def _examples(
        self, application: str, model: str, versions: tuple[int, int]
    ) -> list[DisagreementExample]:
        hour = self._clock() // HOUR_MS
        answered, shadow = versions
        found = self._disagreements.read_examples(
            model, shadow, hour - LOOKED_AT_HOURS, hour + 1, MAX_EXAMPLES, application, answered
        )
        return [example_of(one) for one in found]


def _unknown() -> AnswersOfSuccessor:
    return AnswersOfSuccessor(
        basis="unknown", reason=_NO_SHADOW, compared=0, different=0, share=None
    )
