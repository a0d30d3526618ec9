"""What templates and answers may hold, so that what publishers write is shown and never run."""

import gzip
import hashlib
import re
import threading
from pathlib import Path

import pytest
from jinja2 import Environment, FunctionLoader

from control.portal import assets
from control.portal.rendering import environment
from control.portal.warming import START_AFTER_S, compile_templates
from tests.control.portal.conftest import Visiting
from tests.control.running import Control

FOLDER = Path(assets.__file__).parent / "templates"
TEMPLATES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.html"))
HOSTILE = "\"><script>alert('x')</script>{{7*7}}"
FORBIDDEN = {
    "a script with code in it": r"<script(?![^>]*\b(src=|type=\"application/json\"))",
    "a style element": r"<style",
    "a style attribute": r"\sstyle\s*=",
    "a handler": r"\son[a-z]+\s*=",
    "a handler of htmx": r"hx-on",
    "what htmx would evaluate": r"hx-vals\s*=\s*[\"']js:|hx-vars",
    "an unescaped value": r"\|\s*safe\b|autoescape\s+false|Markup\(",
    "a javascript: address": r"javascript:",
}


NAMES = ("base.html", "operate/one.html", "operate/two.html", "parts/ui.html")


class Named(FunctionLoader):
    """A loader that can say what there is."""

    def list_templates(self) -> list[str]:
        """Every name."""
        return list(NAMES)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_template_holds_what_the_policy_forbids(what: str) -> None:
    guilty = [name for name in TEMPLATES if re.search(FORBIDDEN[what], (FOLDER / name).read_text())]
    assert guilty == []


def test_every_template_compiles_with_escaping() -> None:
    found = environment()
    assert found.autoescape is True
    assert TEMPLATES
    for name in TEMPLATES:
        found.get_template(name)


async def test_templates_are_compiled_in_a_thread_with_rests_between_them() -> None:
    threads: list[int] = []
    pauses: list[float] = []

    def load(name: str) -> str:
        threads.append(threading.get_ident())
        return "{{ 1 }}"

    async def pause(seconds: float) -> None:
        assert len(threads) == len(pauses), "one after the other"
        pauses.append(seconds)

    found = Environment(loader=Named(load), autoescape=True)
    await compile_templates(found, pause)
    assert pauses[0] == START_AFTER_S
    assert len(threads) == len(pauses) - 1 == len(NAMES)
    assert threading.get_ident() not in threads
    assert found.cache is not None
    assert {name for _, name in found.cache} == set(NAMES)


def test_every_form_that_changes_something_carries_the_token() -> None:
    for name in TEMPLATES:
        text = (FOLDER / name).read_text()
        for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", text, re.DOTALL):
            assert "csrf_field()" in form, (name, form[:200])


def test_vendored_files_are_those_that_are_named() -> None:
    for folder in (assets.FOLDER, Path(__file__).parents[2] / "browser" / "vendor"):
        text = (folder / "VENDORED.md").read_text()
        named = dict(re.findall(r"^\| `([^`]+)` .*\| ([0-9a-f]{64}) \|$", text, re.MULTILINE))
        assert named
        for name, digest in named.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


async def test_every_answer_says_what_it_may_load(control: Control) -> None:
    for path in ("/portal", "/portal/login", "/portal/nothing", assets.asset_url("portal.css")):
        headers = (await control.anonymous.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


async def test_pages_are_kept_by_nobody_and_assets_for_good(control: Control) -> None:
    page = await control.anonymous.get("/portal/login")
    assert page.headers["Cache-Control"] == "private, no-store"
    asset = await control.anonymous.get(
        assets.asset_url("portal.css"), headers={"Accept-Encoding": "gzip"}
    )
    assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert asset.headers["Content-Encoding"] == "gzip"
    old = await control.anonymous.get(f"{assets.PREFIX}/{'0' * 12}/portal.css")
    assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")
    missing = await control.anonymous.get(f"{assets.PREFIX}/{'0' * 12}/..%2Fassets.py")
    assert missing.status_code == 404


def test_what_a_page_loads_stays_small() -> None:
    """Issue: no page loads over 300 kB; pages themselves get the rest of it."""
    found = assets.assets()

    def named(template: str) -> set[str]:
        text = (FOLDER / template).read_text()
        return set(re.findall(r"asset\([\"']([^\"']+)[\"']\)", text))

    everywhere = named("base.html")
    assert {"portal.css", "htmx.min.js"} <= everywhere
    for template in TEMPLATES:  # an area's own files are loaded on its own pages alone
        loaded = everywhere | named(template)
        assert sum(len(found[name].content) for name in loaded) < 220_000, template
    assert all(gzip.decompress(one.packed) == one.content for one in found.values())


async def test_hostile_titles_and_descriptions_are_escaped(
    control: Control, visiting: Visiting
) -> None:
    said = {"title": HOSTILE, "description": HOSTILE}
    await control.admin.put("/api/v1/models/hostile", json=said)
    client = await visiting("admin")
    for path in ("/portal/models/hostile", f"/portal?q={HOSTILE}"):
        text = (await client.get(path)).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
        assert "{{7*7}}" in text


async def test_a_defect_is_told_without_its_details(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr("control.portal.routes_entrance.page", broken)
    answer = await control.anonymous.get("/portal/login")
    assert answer.status_code == 500
    assert "Something went wrong" in answer.text
    assert "the inside" not in answer.text
    assert answer.headers["Content-Security-Policy"]
