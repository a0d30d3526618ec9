"""Text that reads from right to left, among text that does not.

What people write may turn the order of what follows it (UAX #9): a title in Hebrew moves the number
behind it, and an override (U+202E) reverses the rest of the line. So whatever a template writes
into the text of an element is isolated where it could do that: a value by itself in ``<bdi>``, a
value within a sentence by the characters for it. Values of attributes, of fields and of options are
left as they are: these are sent back.
"""

import re
from collections.abc import Iterator
from typing import Final

from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup, escape

TURNS: Final = re.compile(
    "[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff"
    "\U0001e800-\U0001efff]"
)
"""Letters that are written from right to left, and characters that say how text is ordered."""
_OPEN: Final = "\u2068"
_CLOSE: Final = "\u2069"
_OPENS: Final = "\u2066\u2067\u2068"
_TAG: Final = re.compile(r"<(/?[A-Za-z][A-Za-z0-9]*)|>")
_TITLE: Final = "title"
_FILTERS: Final = {"": "isolated_value", _TITLE: "isolated_words"}
"""By where a value stands; elsewhere it is left as it is."""
_AS_IT_IS: Final = ("textarea", "option", "title", "script", "style", "pre")


def isolated(text: str) -> str:
    """The text so that it turns nothing beside it; as it is where it could not."""
    if TURNS.search(text) is None:
        return text
    return _OPEN + _balanced(text) + _CLOSE


def isolated_value(value: object) -> object:
    """What a template writes into an element: a text in ``<bdi>`` where it could turn what is
    beside it. Markup and what is no text stay as they are."""
    if not isinstance(value, str) or isinstance(value, Markup) or TURNS.search(value) is None:
        return value
    return Markup("<bdi>{}</bdi>").format(_balanced(value))


def isolated_words(value: object) -> object:
    """What a template writes into the title of the window, which has no elements."""
    return isolated(value) if isinstance(value, str) else value


def formatted(text: str, *values: object) -> str:
    """``text % values``, each text of them isolated; markup among them stays markup, and the rest
    is escaped then."""
    given = tuple(
        isolated(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        for value in values
    )
    if any(isinstance(value, Markup) for value in given):
        return escape(text) % given
    return text % given


def _balanced(text: str) -> str:
    """Without ends of isolates that begin outside the text, and with those that it leaves open."""
    depth, kept = 0, []
    for sign in text:
        if sign in _OPENS:
            depth += 1
        elif sign == _CLOSE:
            if not depth:
                continue
            depth -= 1
        kept.append(sign)
    return "".join(kept) + _CLOSE * depth


class Isolating(Extension):
    """Passes what templates write into the text of elements through :func:`isolated_value`."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """The tokens, with a filter where a value stands in text."""
        place, filtered, before = "", "", ""
        for token in stream:
            if token.type == "data":
                place = _place(place, token.value)
            elif token.type == "name" and before == "block" and token.value == _TITLE:
                place = _TITLE  # of a page that extends another: its element is in that one
            elif token.type == "name" and token.value == "endblock" and place == _TITLE:
                place = ""
            before = token.value
            if token.type == "variable_begin":
                filtered = _FILTERS.get(place, "")
                yield token
                if filtered:
                    yield Token(token.lineno, "lparen", "(")
            elif token.type == "variable_end" and filtered:
                yield Token(token.lineno, "rparen", ")")
                yield Token(token.lineno, "pipe", "|")
                yield Token(token.lineno, "name", filtered)
                yield token
            else:
                yield token


def _place(place: str, data: str) -> str:
    """Where text of a template leads from ``place``: ``""`` into the text of an element; ``"<"``
    into a tag; a name into an element whose text is its value."""
    for found in _TAG.finditer(data):
        name = (found[1] or "").lower()
        if place.startswith("<"):
            place = place[1:] if found[0] == ">" else place
        elif not place and name:
            place = f"<{name}" if name in _AS_IT_IS else "<"
        elif place and name == f"/{place}":
            place = "<"
    return place
