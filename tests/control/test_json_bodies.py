"""What is JSON and yet no certain text is refused on every route that reads a body."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control import json_bodies
from protocol.errors import Code, TollwayError
from tests.control.running import Control

HALF = "\\ud800 long enough to be one"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """How bodies are read does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/sessions", f'{{"name":"con1","password":"{HALF}"}}'),
        ("PUT", "/users/con1", f'{{"role":"consumer","password":"{HALF}"}}'),
        ("PUT", "/users/me/password", f'{{"old":"{HALF}","new":"correct horse battery"}}'),
        ("PUT", "/users/me/password", f'{{"old":"correct horse battery","new":"{HALF}"}}'),
        ("PUT", "/configuration", f'{{"plans":{{"{HALF}":{{}}}}}}'),
        ("PUT", "/configuration", f'{{"consumers":{{"{HALF}":{{}}}}}}'),
        ("PUT", "/configuration", f'{{"subscriptions":{{"{HALF}":{{"m":"free"}}}}}}'),
        ("PUT", "/configuration", f'{{"models":{{"m":{{"aliases":{{"{HALF}":1}}}}}}}}'),
    ],
)
async def test_half_of_a_surrogate_pair_is_refused_not_a_defect(
    control: Control, method: str, path: str, body: str
) -> None:
    answer = await control.admin.request(
        method, f"/api/v1{path}", content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid"
    assert "surrogate" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"null", 422),
        (b'{"title":"a","title":"b"}', 400),
        ('{"title":"a"}'.encode("utf-16"), 400),
        ('{"title":"a"}'.encode("utf-16-le"), 400),
        (b'{"title":"\xed\xa0\x80"}', 400),
    ],
)
@pytest.mark.parametrize("path", ["/consumers/con1", "/applications/app1"])
async def test_a_body_that_means_nothing_certain_makes_nothing(
    control: Control, path: str, body: bytes, status: int
) -> None:
    answer = await control.admin.put(
        f"/api/v1{path}", content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == status, answer.text
    assert (await control.admin.get(f"/api/v1{path}")).status_code == 404


def test_a_member_that_is_there_twice_is_not_repeated() -> None:
    with pytest.raises(TollwayError) as refusal:
        json_bodies.check(b'{"a":[{"hush":1,"hush":2}]}')

    assert refusal.value.code is Code.MALFORMED
    assert "hush" not in str(refusal.value)


@given(
    st.recursive(
        st.booleans() | st.integers() | st.text(),
        lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    ),
    st.booleans(),
)
def test_what_is_text_and_certain_passes(value: object, ascii: bool) -> None:
    json_bodies.check(json.dumps(value, ensure_ascii=ascii).encode())
