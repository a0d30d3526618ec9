"""What the command of the client library says while it runs, and how it is told on. Pure."""

from typing import Final

import msgspec

from control.evaluations.resources import About, EvaluationFailure
from protocol.keys import redacted

MAX_STEPS: Final = 50
MAX_WORDS: Final = 300
MAX_DETAIL: Final = 1_000
FIRST_STEP: Final = "reading the rows"
_ABOUT: Final[dict[str, About]] = {
    about: about for about in ("rows", "target", "segments", "metrics")
}

_ABANDONED: Final = "the session or token that began it has ended: log in, and begin again"
_BY_KIND: Final = {
    "AuthenticationError": _ABANDONED,
    "ConnectionFailed": "the gateway did not answer at the address that control has for it "
    "(TOLLWAY_GATEWAY_URL): ask whoever runs the installation",
    "TimedOut": "an engine did not answer in time: try again, or give fewer rows",
    "MemoryError": "the rows need more memory than an evaluation may have: give fewer rows",
}
"""What errors mean to who evaluates from here; the command's own words are for who runs it."""
_UNSAID: Final = (
    "the process of the evaluation ended without a word, as it does when it needs more memory or "
    "time than it may have: give fewer rows"
)


class _Line(msgspec.Struct):
    event: str
    message: str = ""
    rows: int | None = None
    digest: str = ""
    kind: str = ""
    about: str = ""


_LINES: Final = msgspec.json.Decoder(_Line)


class Progress:
    """How far an evaluation is, line by line."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.step = FIRST_STEP
        self.rows: int | None = None
        self.of_rows: int | None = None
        self.digest: str | None = None
        self.failure: EvaluationFailure | None = None

    def follow(self, line: bytes) -> bool:
        """Take in a line of what the command says. Returns False for one that is no event."""
        try:
            said = _LINES.decode(line)
        except msgspec.DecodeError:
            return False
        match said.event:
            case "step":
                self.done = [*self.done, self.step][-MAX_STEPS:]
                self.step = _words(said.message, MAX_WORDS)
                self.rows = self.of_rows = None
            case "total":
                self.rows, self.of_rows = 0, said.rows
            case "done":
                self.rows = said.rows
            case "kept":
                self.digest = said.digest
            case "error":
                self.failure = EvaluationFailure(
                    about=_ABOUT.get(said.about, ""),
                    detail=_BY_KIND.get(said.kind) or _words(said.message, MAX_DETAIL),
                )
        return True


def abandoned() -> EvaluationFailure:
    """The failure of one whose credential has ended, whatever it was told instead: what nobody may
    see does not exist."""
    return EvaluationFailure(about="", detail=_ABANDONED)


def unsaid() -> EvaluationFailure:
    """The failure of a process that ended without saying why."""
    return EvaluationFailure(about="", detail=_UNSAID)


def timed_out(after_s: float) -> EvaluationFailure:
    """The failure of one that took too long."""
    minutes = max(1, round(after_s / 60))
    unit = "minute" if minutes == 1 else "minutes"
    return EvaluationFailure(
        about="",
        detail=f"it took longer than {minutes} {unit}, and was ended: give fewer rows, or leave "
        "importance out",
    )


def _words(text: str, most: int) -> str:
    return redacted(" ".join(text.split()))[:most]
