"""The words of the small languages that users write conditions and criteria in.

A text is read once, from left to right, with one token of look-ahead. Nothing is evaluated while it
is read, and every error names the character that it is about.
"""

import math
import re
from typing import Final, Literal

import msgspec

from protocol.errors import Code, TollwayError

Kind = Literal["name", "number", "text", "sign", "end"]

OPERATORS: Final = ("<=", ">=", "==", "!=", "<", ">")
"""Comparisons, in all of the languages."""

_SPACE = re.compile(r"[ \t]*")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_AFTER_NUMBER = re.compile(r"[\w.]")


class ExpressionError(TollwayError):
    """``INVALID``, with the text and a caret under the character that is not understood."""

    def __init__(self, what: str, text: str, position: int, problem: str) -> None:
        shown = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text).replace("\t", " ")
        super().__init__(
            Code.INVALID,
            f"{what}, character {position + 1}: {problem}\n  {shown}\n  {' ' * position}^",
        )
        self.position = position
        """Index of the character, from 0; the text's length for its end."""
        self.problem = problem


class Token(msgspec.Struct, frozen=True, gc=False):
    """One word. ``text`` is what it says: of a quoted text, without quotes and escapes."""

    kind: Kind
    text: str
    position: int
    number: float = 0.0


class Reader:
    """Reads the tokens of one text. ``token`` is the present one.

    ``name`` matches a bare word, ``signs`` are tried in order, ``what`` names the language in
    errors. Raises :class:`ExpressionError`.
    """

    def __init__(
        self,
        text: str,
        *,
        what: str,
        name: re.Pattern[str],
        signs: tuple[str, ...],
        longest: int,
    ) -> None:
        self.text = text
        self._what = what
        self._name = name
        self._signs = signs
        if len(text) > longest:
            raise TollwayError(
                Code.INVALID, f"{what}: {len(text)} characters; at most {longest} are read"
            )
        bad = _UNPRINTABLE.search(text)
        if bad is not None:
            raise self.error("this character cannot stand here", bad.start())
        self.token = self._read(0)

    def error(self, problem: str, position: int | None = None) -> ExpressionError:
        """The error for the present token, or for ``position``."""
        where = self.token.position if position is None else position
        return ExpressionError(self._what, self.text, where, problem)

    def use(self, name: re.Pattern[str]) -> None:
        """From the present token on, ``name`` matches a bare word."""
        self._name = name
        self.token = self._read(self.token.position)

    def back(self, token: Token) -> None:
        """Make ``token``, which was read before, the present one again."""
        self.token = self._read(token.position)

    def step(self) -> Token:
        """The present token; the following one becomes the present."""
        token = self.token
        if token.kind != "end":
            self.token = self._read(self._after)
        return token

    def accept(self, *signs: str) -> Token | None:
        """The present token when it is one of ``signs`` (or bare words), and step."""
        if self.token.kind in {"sign", "name"} and self.token.text in signs:
            return self.step()
        return None

    def expect(self, sign: str) -> Token:
        """As :meth:`accept`; raises when it is anything else."""
        found = self.accept(sign)
        if found is None:
            raise self.error(f"expected {sign!r}{self.instead()}")
        return found

    def operator(self) -> Token:
        """A comparison. Raises when it is anything else, and says what was meant."""
        found = self.accept(*OPERATORS)
        if found is not None:
            return found
        if self.token.text == "=":
            raise self.error("'=' compares nothing here; write '=='")
        raise self.error(f"expected one of {' '.join(OPERATORS)}{self.instead()}")

    def instead(self) -> str:
        """What stands there, for an error."""
        if self.token.kind == "end":
            return "; the text ends here"
        return f", not {self.token.text[:40]!r}"

    def _read(self, start: int) -> Token:
        spaces = _SPACE.match(self.text, start)
        at = start if spaces is None else spaces.end()
        if at == len(self.text):
            self._after = at
            return Token("end", "", at)
        first = self.text[at]
        if first in "\"'":
            return self._quoted(at, first)
        number = _NUMBER.match(self.text, at)
        if number is not None:
            return self._number(at, number)
        name = self._name.match(self.text, at)
        if name is not None:
            self._after = name.end()
            return Token("name", name[0], at)
        for sign in self._signs:
            if self.text.startswith(sign, at):
                self._after = at + len(sign)
                return Token("sign", sign, at)
        raise self.error(f"{first!r} cannot stand here", at)

    def _number(self, at: int, number: re.Match[str]) -> Token:
        if _AFTER_NUMBER.match(self.text, number.end()):
            raise self.error(
                "a number cannot be followed by this; put text in quotes", number.end()
            )
        value = float(number[0])
        if not math.isfinite(value):
            raise self.error("the number is too large", at)
        self._after = number.end()
        return Token("number", number[0], at, value)

    def _quoted(self, at: int, quote: str) -> Token:
        parts: list[str] = []
        index = at + 1
        while index < len(self.text):
            character = self.text[index]
            if character == quote:
                self._after = index + 1
                return Token("text", "".join(parts), at)
            if character == "\\":
                index += 1
                character = self.text[index : index + 1]
                if character not in {"\\", '"', "'"}:
                    raise self.error(r"after '\' stands a quote or another '\'", index)
            parts.append(character)
            index += 1
        raise self.error("the quoted text does not end", at)


def number_text(value: float) -> str:
    """The shortest text that reads as ``value``, without a fraction where there is none."""
    exact = value.is_integer() and abs(value) < 2**53
    return str(int(value)) if exact else repr(value)


def quoted_text(text: str) -> str:
    """``text`` in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
