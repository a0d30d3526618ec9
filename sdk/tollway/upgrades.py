"""What another version would change for an application's own requests."""

from dataclasses import dataclass

from tollway.disagreement import DisagreementExample
from tollway.endings import SuccessorAnswers
from tollway.registry import check_name
from tollway.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradePreview:
    """Whether an application's recent requests would get other answers from another version.

    ``examples`` are its own rows that differ most. ``captured``: requests that ``from_version``
    answered and that can be scored again by :meth:`tollway.Client.replay`; 100 stands for more.
    """

    application: str
    model: str
    from_version: int
    to_version: int
    to_state: str
    sunset: str | None
    answers: SuccessorAnswers
    examples: tuple[DisagreementExample, ...]
    captured: int
    capture_percent: float


def preview(
    transport: Transport, application: str, model: str, before: int, after: int
) -> UpgradePreview:
    """Ask for the preview of going from version ``before`` to ``after``."""
    name = check_name(application, "application")
    path = f"/api/v1/applications/{name}/upgrades/{check_name(model, 'model')}"
    return transport.get(path, UpgradePreview, {"from": before, "to": after})
