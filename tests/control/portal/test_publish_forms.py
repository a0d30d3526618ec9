"""Requirements, deprecations and uploads by form."""

import html
import json
import re

import httpx
import msgspec
import pytest

from protocol.manifest import Manifest, sha256_digest
from protocol.model_schema import example_row
from tests.control.portal.conftest import Visiting, filled, token_of
from tests.control.portal.publishing_world import HOSTILE, uninspected
from tests.control.portal.test_publish import RISK, publisher, send
from tests.control.running import Control
from tests.control.test_usage import lines, record
from tests.registry import models_onnx

MODEL = models_onnx.linear().SerializeToString()
DIGEST = sha256_digest(MODEL)


async def test_a_criterion_that_cannot_be_read_is_shown_with_its_character(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    refused = await send(visitor, f"{RISK}/requirements", criteria="r2 > 0.8\nr2 >> 0.9", rules="0")
    assert refused.status_code == 422
    assert "criteria, item 2" in refused.text
    assert "r2 &gt;&gt; 0.9\n" in refused.text
    assert "   ^" in refused.text
    assert "r2 &gt; 0.8\nr2 &gt;&gt; 0.9</textarea>" in refused.text


async def test_requirements_are_made_once_from_what_was_read(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    form = {
        **await filled(visitor, f"{RISK}/requirements"),
        "problem": HOSTILE,
        "criteria": "r2 > 0.8",
        "segments": "young: age<30",
        "mode": "enforce",
        "rules": "2",
        "rule.0.column": "age",
        "rule.0.minimum": "18",
        "rule.0.nulls": "on",
        "rule.1.column": "",
    }
    made = await send(visitor, f"{RISK}/requirements", **form)
    assert made.status_code == 303, made.text
    held = (await control.admin.get("/api/v1/models/risk/requirements")).json()
    assert (held["number"], held["segments"]) == (2, {"young": "age<30"})
    assert held["contract"]["rules"] == [
        {"column": "age", "minimum": 18.0, "maximum": None, "categories": None, "nulls": True}
    ]
    late = await send(visitor, f"{RISK}/requirements", **{**form, "criteria": "r2 > 0.1"})
    assert late.status_code == 412
    page = await visitor.get(f"{RISK}/requirements")
    assert "Requirements 1" in page.text
    assert "<script>alert" not in page.text


async def test_a_version_is_deprecated_and_retired(control: Control, visiting: Visiting) -> None:
    visitor = await publisher(control, visiting)
    at = f"{RISK}/versions/1"
    form = {"sunset": "2027-02-01T08:00", "note": HOSTILE, "start.0": "2027-01-20T08:00"}
    refused = await send(visitor, f"{at}/deprecation", **form)
    assert refused.status_code == 422
    form["end.0"] = "2027-01-20T09:00"
    done = await send(visitor, f"{at}/deprecation", **form)
    assert done.status_code == 303, done.text
    page = await visitor.get(f"{at}/deprecation")
    assert 'value="2027-02-01T08:00"' in page.text
    assert 'value="2027-01-20T09:00"' in page.text
    assert "Nobody called it" in page.text
    assert "<script>alert" not in page.text
    held = await send(visitor, f"{at}/retire")
    assert held.status_code == 409
    assert "stable" in held.text
    reports = await visitor.get(f"{RISK}/retirement")
    assert reports.status_code == 200
    assert (await visitor.get(f"{RISK}/callers")).status_code == 200


async def test_callers_of_an_ending_version_have_pages(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    names = [f"app-{number:03}" for number in range(51)]
    calls = [record(application=name) for name in names]
    control.services.usage.store.ingest("g1", "s1", 0, lines(calls))
    at = f"{RISK}/versions/1/deprecation"
    first = await visitor.get(at)
    assert "51 calls by 51 applications" in first.text
    assert names[49] in first.text
    assert names[50] not in first.text
    [following] = re.findall(r'href="([^"]+after=[^"]+)"', first.text)
    rest = await visitor.get(html.unescape(following))
    assert names[50] in rest.text
    assert names[0] not in rest.text
    assert f'href="{at}?days=30"' in rest.text
    assert (await visitor.get(f"{at}?after=nothing")).status_code == 422


async def test_a_file_comes_in_pieces_and_becomes_a_version(
    control: Control, visiting: Visiting
) -> None:
    visitor = await visiting("publisher")
    uninspected(control)
    await send(visitor, "/portal/publish/new", "/portal/publish/new", name="risk")
    upload = await bring(visitor)
    assert upload["digest"] == DIGEST
    query = {"artifact": DIGEST, "size": str(len(MODEL)), "name": HOSTILE}
    waiting = await visitor.get(f"{RISK}/register", params=query)
    assert "Reading the graph" in waiting.text
    asked = await visitor.get(f"{RISK}/register", params=query, headers={"HX-Request": "true"})
    assert "3 names, one a line" in asked.text
    assert "<script>alert" not in asked.text
    form = {
        "artifact": DIGEST,
        "size": str(len(MODEL)),
        "task": "regression",
        "columns.0": "a\nb",
    }
    few = await send(visitor, f"{RISK}/register", **form)
    assert few.status_code == 422
    assert "there are 2 names, and the input has 3 columns" in few.text
    form["columns.0"] = "a\nb\nc"
    bad = await send(visitor, f"{RISK}/register", golden="{}", **form)
    assert bad.status_code == 422
    odd = await send(visitor, f"{RISK}/register", example="a,b,d\n1,2,3", **form)
    assert odd.status_code == 422
    assert 'id="field-example-error"' in odd.text
    assert "there is no column" in odd.text
    made = await send(visitor, f"{RISK}/register", example="b,a,c\n2,1.5,\n7,8,9", **form)
    assert made.headers["location"] == f"{RISK}/versions/1", made.text
    manifest = (await control.admin.get("/api/v1/models/risk/versions/1")).json()["manifest"]
    assert [column["name"] for column in manifest["columns"]] == ["a", "b", "c"]
    assert [column.get("example") for column in manifest["columns"]] == [1.5, 2.0, None]
    known = msgspec.convert(manifest, Manifest)
    assert example_row(known, {}) == {"a": 1.5, "b": 2.0, "c": 1.0}


async def bring(visitor: httpx.AsyncClient) -> dict[str, object]:
    """Bring the model in two pieces, one of them twice, as the page's script does."""
    headers = {"X-CSRF-Token": await token_of(visitor, f"{RISK}/upload")}
    at = "/portal/publish/uploads"
    body = json.dumps({"digest": DIGEST, "size": len(MODEL)})
    unsigned = await visitor.post(at, content=body)
    assert unsigned.status_code == 403
    begun = (await visitor.post(at, content=body, headers=headers)).json()
    path = f"{at}/{begun['id']}"
    for start, stop in ((0, 50), (50, len(MODEL))):
        offset = {"Upload-Offset": str(start), **headers}
        sent = await visitor.patch(path, content=MODEL[start:stop], headers=offset)
        assert sent.json() == {"offset": stop}
        assert (await visitor.get(path)).json() == {"offset": stop}
    again = await visitor.patch(path, content=b"x", headers={"Upload-Offset": "0", **headers})
    assert again.status_code == 409
    done: dict[str, object] = (await visitor.post(f"{path}/complete", headers=headers)).json()
    return done


@pytest.mark.parametrize("role", ["sponsor", "auditor", "consumer"])
async def test_who_does_not_publish_brings_nothing(visiting: Visiting, role: str) -> None:
    visitor = await visiting(role)
    headers = {"X-CSRF-Token": await token_of(visitor, "/portal")}
    body = json.dumps({"digest": DIGEST, "size": len(MODEL)})
    refused = await visitor.post("/portal/publish/uploads", content=body, headers=headers)
    assert refused.status_code == 403
