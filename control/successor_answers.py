"""Whether callers would get other answers from a version's successor: what shadows have found."""

from collections.abc import Mapping, Sequence
from typing import Final

from control.store.disagreements import DisagreementStore
from control.transition_resources import AnswersOfSuccessor
from protocol.shadowing import Tally
from registry.clock import Clock

HOUR_MS: Final = 3_600_000
LOOKED_AT_HOURS: Final = 30 * 24


class ShadowedAnswers:
    """Reads what the successor answered otherwise when it was a shadow beside the version, or what
    the version did beside its successor: either scored the same requests."""

    def __init__(self, disagreements: DisagreementStore, clock: Clock) -> None:
        self._disagreements = disagreements
        self._clock = clock

    def compared(
        self, model: str, version: int, successor: int, named: Sequence[str]
    ) -> Mapping[str, AnswersOfSuccessor]:
        """Application, of those ``named`` -> how the answers compare; nothing for those of whom
        nothing is known."""
        hour = self._clock() // HOUR_MS
        found: dict[str, Tally] = {}
        for shadow, answered in ((successor, version), (version, successor)):
            tallies = self._disagreements.tallies(
                model, shadow, hour - LOOKED_AT_HOURS, hour + 1, answered, named
            )
            for (_, application, segment), tally in tallies.items():
                if not segment and application not in found:
                    found[application] = tally
        return {application: answers_of(tally) for application, tally in found.items()}


def answers_of(tally: Tally) -> AnswersOfSuccessor:
    """Classes where there are any: a probability that moved without moving the class is no other
    answer. Else numbers, which differ when they are not equal within the shadow's tolerance."""
    if tally.labelled:
        compared, different, what = tally.labelled, tally.flips, "rows in another class"
    else:
        compared, different = tally.measured, tally.measured - tally.equal
        what = f"rows with another number, by at most {tally.largest:.6g}"
    failed = f"; {tally.failed} requests could not be compared" if tally.failed else ""
    return AnswersOfSuccessor(
        basis="shadow",
        reason=f"{what}{failed}",
        compared=compared,
        different=different,
        share=different / compared if compared else None,
    )
