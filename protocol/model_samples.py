"""Request samples in curl, Python and JavaScript for one version. Pure.

The key comes from the environment (``TOLLWAY_KEY``): a sample is copied around. Names of columns
are anybody's text; each language gets them as literals of its own, ASCII alone.
"""

import json
from typing import Final, Literal

Language = Literal["curl", "python", "javascript"]
LANGUAGES: Final[tuple[Language, ...]] = ("curl", "python", "javascript")
_WIDTH: Final = 100
_INDENT: Final = "  "


def samples(url: str, body: dict[str, object], answer: str) -> dict[Language, str]:
    """A program for each language that posts ``body`` to ``url`` and prints the answer's field
    ``answer``. ``url`` is absolute and has no quotes, spaces or backslashes."""
    return {
        "curl": _curl(url, body),
        "python": _python(url, body, answer),
        "javascript": _javascript(url, body, answer),
    }


def _curl(url: str, body: dict[str, object]) -> str:
    """For a POSIX shell: nothing within single quotes means anything but their end."""
    data = json.dumps(body).replace("'", "'\\''")
    return (
        f"curl --fail-with-body --silent --show-error --globoff '{url}' \\\n"
        f'  -H "X-API-Key: $TOLLWAY_KEY" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{data}'\n"
    )


def _python(url: str, body: dict[str, object], answer: str) -> str:
    return (
        "import os\n\nimport httpx\n\n"
        f"answer = httpx.post(\n    {json.dumps(url)},\n"
        '    headers={"X-API-Key": os.environ["TOLLWAY_KEY"]},\n'
        f"    json={_literal(body, 1, python=True)},\n)\n"
        f'answer.raise_for_status()\nprint(answer.json()["{answer}"])\n'
    )


def _javascript(url: str, body: dict[str, object], answer: str) -> str:
    """An ES module, for browsers' fetch and Node.js from 18 on."""
    return (
        f"const answer = await fetch({json.dumps(url)}, {{\n"
        '  method: "POST",\n'
        "  headers: {\n"
        '    "X-API-Key": process.env.TOLLWAY_KEY,\n'
        '    "Content-Type": "application/json",\n'
        "  },\n"
        f"  body: JSON.stringify({_literal(body, 1, python=False)}),\n"
        "});\n"
        "if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);\n"
        f"console.log(JSON.stringify((await answer.json()).{answer}));\n"
    )


def _literal(value: object, depth: int, *, python: bool) -> str:
    """The value as source text: on one line where that is short, else an item a line."""
    short = _flat(value, python=python)
    if len(short) + depth * 4 <= _WIDTH or not isinstance(value, dict | list) or not value:
        return short
    step = _INDENT * 2 if python else _INDENT
    inner, outer = step * (depth + 1), step * depth
    if isinstance(value, dict):
        items = [
            f"{_key(name, python=python)}: {_literal(item, depth + 1, python=python)}"
            for name, item in value.items()
        ]
        return "{\n" + "".join(f"{inner}{item},\n" for item in items) + outer + "}"
    items = [_literal(item, depth + 1, python=python) for item in value]
    return "[\n" + "".join(f"{inner}{item},\n" for item in items) + outer + "]"


def _flat(value: object, *, python: bool) -> str:
    if isinstance(value, dict):
        items = (
            f"{_key(name, python=python)}: {_flat(item, python=python)}"
            for name, item in value.items()
        )
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(item, python=python) for item in value) + "]"
    if python and (value is None or isinstance(value, bool)):
        return str(value)
    if isinstance(value, str):
        return _text(value, python=python)
    return json.dumps(value)


def _text(text: str, *, python: bool) -> str:
    # Python knows no surrogate pairs, JSON and JavaScript nothing else beyond the first plane.
    return ascii(text) if python and not text.isascii() else json.dumps(text)


def _key(name: str, *, python: bool) -> str:
    text = _text(name, python=python)
    # In an object literal this one name sets the prototype instead of a property.
    return f"[{text}]" if not python and name == "__proto__" else text
