"""Text from right to left turns nothing beside it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment
from markupsafe import Markup

from control.portal.directions import Isolating, formatted, isolated, isolated_value, isolated_words
from control.portal.rendering import environment
from tests.control.portal.test_templates import FOLDER, TEMPLATES

IN_ATTRIBUTE = re.compile(r"""(?<!aria-describedby)=["'][^"'<>]*$""")
"""Where a value follows that is an attribute's; those that name elements hold no text."""
HEBREW = "\u05e9\u05dc\u05d5\u05dd"
OVERRIDE = "abc\u202e"
ESCAPING = "abc\u2069\u202e"


def rendered(source: str, **values: object) -> str:
    found = Environment(
        loader=DictLoader({"page": source}), autoescape=True, extensions=[Isolating]
    )
    found.filters.update(isolated_value=isolated_value, isolated_words=isolated_words)
    return found.get_template("page").render(**values)


@pytest.mark.parametrize("text", [HEBREW, OVERRIDE, "\u2067x"])
def test_what_could_turn_its_neighbours_stands_in_an_element_of_its_own(text: str) -> None:
    page = rendered("<td>{{ a }}, {{ n }} rows</td>", a=text, n=89)
    assert page.startswith(f"<td><bdi>{text}")
    assert page.endswith("</bdi>, 89 rows</td>")


def test_what_turns_nothing_stays_as_it_is() -> None:
    assert rendered("<td>{{ a }}</td>", a="Zürich <b>") == "<td>Zürich &lt;b&gt;</td>"
    assert rendered("<p>{{ a }}{{ b if b }}{{ 1 if false }}</p>", a=7, b=None) == "<p>7</p>"
    assert rendered("{{ a }}", a=Markup(f"<i>{HEBREW}</i>")) == f"<i>{HEBREW}</i>"


@pytest.mark.parametrize(
    "source",
    [
        '<input value="{{ a }}">',
        '<a href="/x" title="{{ a }}">x</a>',
        "<textarea rows=1>{{ a }}</textarea>",
        '<select><option value="">-</option><option>{{ a }}</option></select>',
        '<p>x</p><input{% if a %} value="{{ a }}"{% endif %}>',
        "<pre><code>{{ a }}</code></pre>",
    ],
)
def test_what_is_sent_back_or_copied_has_nothing_added(source: str) -> None:
    assert rendered(source, a=HEBREW) == rendered(source, a="@").replace("@", HEBREW)


@pytest.mark.parametrize(
    "source",
    ["<title>{{ a }} v{{ n }}</title>", "{% block title %}{{ a }} v{{ n }}{% endblock %}"],
)
def test_the_title_of_a_window_is_isolated_without_elements(source: str) -> None:
    assert f"\u2068{HEBREW}\u2069 v3" in rendered(f"{source}<p>x</p>", a=HEBREW, n=3)


def test_no_value_of_an_attribute_is_taken_for_text() -> None:
    found = environment()
    for name in TEMPLATES:
        text = ""
        for token in Isolating(found).filter_stream(
            found.lexer.tokenize((FOLDER / name).read_text())
        ):
            if token.value == "isolated_value":
                assert IN_ATTRIBUTE.search(text) is None, (name, token.lineno, text[-80:])
            text = token.value if token.type == "data" else text


def test_text_behind_a_field_is_text_again() -> None:
    source = "<textarea>{{ a }}</textarea><p>{{ a if a else 1 }}</p>"
    assert rendered(source, a=HEBREW).endswith(f"<p><bdi>{HEBREW}</bdi></p>")


def test_within_a_sentence_the_value_is_isolated_by_characters() -> None:
    assert formatted("On %s, %d rows", HEBREW, 3) == f"On \u2068{HEBREW}\u2069, 3 rows"
    assert formatted("On %s", "spring") == "On spring"
    assert formatted("%s & %s", Markup("<i>"), "<") == "&lt;".join(["<i> &amp; ", ""])


def test_a_text_cannot_end_what_isolates_it() -> None:
    assert isolated(ESCAPING) == "\u2068abc\u202e\u2069"
    assert isolated_value(ESCAPING) == "<bdi>abc\u202e</bdi>"


@given(st.text(alphabet="ab\u05d0\u202e\u2066\u2067\u2068\u2069"))
def test_an_isolated_text_is_closed_exactly_at_its_end(text: str) -> None:
    depth, found = 0, isolated(text)
    for place, sign in enumerate(found, start=1):
        depth += (sign in "\u2066\u2067\u2068") - (sign == "\u2069")
        assert depth > 0 or found == text or place == len(found)
    assert depth == 0


@pytest.mark.parametrize("text", [HEBREW, OVERRIDE])
def test_headings_facts_and_tables_of_the_portal_isolate_what_they_show(text: str) -> None:
    source = (
        '{% import "parts/ui.html" as ui with context %}'
        '{{ ui.page_header(a) }}{{ ui.facts([("What", a)]) }}{{ ui.notice(a) }}{{ ui.badge(a) }}'
        '{{ ui.field("a", "A", a) }}'
    )
    page = environment().from_string(source).render(a=text, csrf="", path="", now=0)
    assert page.count(f"<bdi>{text}</bdi>") == 4
    assert f'value="{text}"' in page
