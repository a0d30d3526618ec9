"""Users, sessions and personal tokens: who gets in, with what, and what ends it."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from control.app import create_app
from control.identity.passwords import MAX_LENGTH, Passwords, check_password
from control.settings import ControlSettings
from control.store.sessions import MAX_SESSIONS
from protocol.errors import TollwayError
from tests.control.accounts import (
    SECRET,
    audited,
    log_in,
    make,
    new_token,
    published,
    session,
    works,
)
from tests.control.running import Control, connect


@pytest.fixture
def database_url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """SQLite, but for the tests that ask for PostgreSQL."""
    if "on_postgresql" in request.fixturenames:
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def on_postgresql() -> None:
    """Marks a test that runs on PostgreSQL."""


async def test_a_publisher_gets_a_consumer_of_their_own_and_an_admin_none(
    control: Control,
) -> None:
    await make(control, "ann")
    await make(control, "root", role="admin")

    assert (await control.admin.get("/api/v1/users/ann")).json()["consumer"] == "ann"
    assert (await control.admin.get("/api/v1/users/root")).json()["consumer"] is None
    assert (await control.admin.get("/api/v1/consumers/ann")).status_code == 200


async def test_a_consumer_that_is_there_is_never_taken_over_by_a_name(control: Control) -> None:
    await control.admin.put("/api/v1/consumers/acme")
    await make(control, "acme", role="consumer")

    consumer = (await control.admin.get("/api/v1/users/acme")).json()["consumer"]
    assert consumer.startswith("acme-")


async def test_a_user_joins_a_consumer_that_is_named_and_exists(control: Control) -> None:
    await control.admin.put("/api/v1/consumers/acme")
    await make(control, "bob", role="consumer", consumer="acme")
    body = {"role": "consumer", "consumer": "nowhere", "password": SECRET}
    refused = await control.admin.put("/api/v1/users/eve", json=body)

    assert (await control.admin.get("/api/v1/users/bob")).json()["consumer"] == "acme"
    assert refused.status_code == 404


@pytest.mark.parametrize("name", ["admin", "system", "me", "anonymous", "Ann", "a b", "-a"])
async def test_reserved_and_bad_names_are_refused(control: Control, name: str) -> None:
    answer = await control.admin.put(f"/api/v1/users/{name}", json={"role": "admin"})

    assert answer.status_code == 422


@pytest.mark.parametrize("password", ["short", "a" * 20, "a" * 257, "ANN-the-publisher"])
async def test_a_poor_password_is_refused_and_not_repeated(control: Control, password: str) -> None:
    answer = await control.admin.put(
        "/api/v1/users/ann-the-publisher", json={"role": "publisher", "password": password}
    )

    assert answer.status_code == 422
    assert password not in answer.text


async def test_no_answer_shows_a_password_or_its_hash(control: Control) -> None:
    await make(control, "ann")
    for path in ("/api/v1/users", "/api/v1/users/ann"):
        text = (await control.admin.get(path)).text
        assert "argon2" not in text
        assert SECRET not in text
    with control.services.database.read() as connection:
        stored = connection.execute(sa.text("SELECT password FROM users")).scalar_one()
        log = connection.execute(sa.text("SELECT * FROM audit")).all()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored not in repr(log)
    assert SECRET not in repr(log)


async def test_logging_in_gives_a_session_that_acts_as_the_user(control: Control) -> None:
    await make(control, "ann")
    async with await session(control, "ann") as ann:
        me = (await ann.get("/api/v1/users/me")).json()

    assert me | {"user": None} == {
        "name": "ann", "role": "publisher", "credential": "session", "consumer": "ann",
        "models": [], "user": None,
    }  # fmt: skip
    (entry,) = audited(control, "user.logged_in")
    assert (entry["actor"], entry["role"], entry["key"]) == ("ann", "publisher", "ann")


async def test_whoever_cannot_log_in_gets_one_answer_and_leaves_an_entry(
    control: Control,
) -> None:
    await make(control, "ann", role="admin")
    await make(control, "gone", disabled=True)
    await control.admin.put("/api/v1/users/nopass", json={"role": "consumer"})
    answers = [
        await log_in(control, "ann", "wrong wrong wrong"),
        await log_in(control, "nobody"),
        await log_in(control, "gone"),
        await log_in(control, "nopass"),
        await log_in(control, SECRET[:20]),
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    entries = audited(control, "user.login_failed")
    assert [entry["key"] for entry in entries] == ["ann", "-", "gone", "nopass", "-"]
    assert {entry["actor"] for entry in entries} == {"anonymous"}
    assert json.loads(str(entries[0]["after"])) == {"reason": "wrong password", "role": "admin"}
    assert "wrong wrong" not in repr(entries)
    assert SECRET[:20] not in repr(entries)


async def test_a_session_ends_when_it_is_idle_and_when_it_is_old(control: Control) -> None:
    await make(control, "ann")
    settings = control.settings
    async with await session(control, "ann") as ann:
        control.clock.advance(settings.session_idle_s - 1)
        assert await works(ann)
        control.clock.advance(settings.session_idle_s - 1)
        assert await works(ann)
        control.clock.advance(settings.session_idle_s + 1)
        assert not await works(ann)
    async with await session(control, "ann") as ann:
        for _ in range(int(settings.session_max_s / settings.session_idle_s * 2) - 1):
            control.clock.advance(settings.session_idle_s / 2)
            assert await works(ann)
        control.clock.advance(settings.session_idle_s / 2)
        assert not await works(ann)
    assert control.services.accounts.sessions.drop_expired() == 1


async def test_a_session_in_use_lasts_however_short_an_idle_one_does(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(control, "ann")
    monkeypatch.setattr(control.services.accounts.credentials, "_idle_ms", 8_000)
    async with await session(control, "ann") as ann:
        for _ in range(5):
            control.clock.advance(3)
            assert await works(ann)
        control.clock.advance(9)
        assert not await works(ann)


async def test_sessions_of_publishers_work_at_gateways_until_they_end(control: Control) -> None:
    await make(control, "ann")
    await make(control, "con", role="consumer")
    ids = [(await log_in(control, name)).json()["id"] for name in ("ann", "ann", "ann", "con")]
    document = published(control, ids[0])
    assert document is not None
    assert (document["role"], document["models"]) == ("publisher", [])
    assert document["expires_at"] == (control.clock.now_ms // 1000) + control.settings.session_max_s
    assert published(control, ids[3]) is None

    await control.admin.delete(f"/api/v1/sessions/{ids[0]}")
    assert published(control, ids[0]) is None
    control.clock.advance(control.settings.session_idle_s)
    assert control.services.accounts.sessions.drop_expired() == 3
    assert published(control, ids[1]) is None


async def test_sessions_are_listed_and_ended_by_their_own_user_alone(control: Control) -> None:
    await make(control, "ann")
    await make(control, "bob")
    async with (
        await session(control, "ann") as first,
        await session(control, "ann") as second,
        await session(control, "bob") as bob,
    ):
        own = (await first.get("/api/v1/sessions")).json()["items"]
        assert [one["user"] for one in own] == ["ann", "ann"]
        assert sorted(one["current"] for one in own) == [False, True]
        assert (await bob.get("/api/v1/sessions?user=ann")).json()["items"] == []
        other = next(one["id"] for one in own if not one["current"])

        assert (await bob.delete(f"/api/v1/sessions/{other}")).status_code == 404
        await bob.delete("/api/v1/sessions?user=ann")
        assert not await works(bob)
        assert await works(second)
        assert (await first.delete(f"/api/v1/sessions/{other}")).status_code == 204
        assert not await works(second)
        assert (await first.delete("/api/v1/sessions/current")).status_code == 204
        assert not await works(first)


async def test_a_user_has_a_bounded_number_of_sessions(control: Control) -> None:
    await make(control, "ann")
    accounts = control.services.accounts
    with control.services.database.write() as connection:
        for _ in range(MAX_SESSIONS + 3):
            accounts.sessions.begin(connection, "ann", "publisher", "", "")

    assert len(accounts.sessions.list(1000, "", "ann", None).items) == MAX_SESSIONS


async def test_changing_the_own_password_needs_the_old_one_and_ends_other_sessions(
    control: Control,
) -> None:
    await make(control, "ann")
    async with await session(control, "ann") as ann, await session(control, "ann") as other:
        wrong = {"old": "not the old one at all", "new": "another fine password"}
        assert (await ann.put("/api/v1/users/me/password", json=wrong)).status_code == 403
        same = {"old": SECRET, "new": SECRET}
        assert (await ann.put("/api/v1/users/me/password", json=same)).status_code == 422
        right = {"old": SECRET, "new": "another fine password"}
        assert (await ann.put("/api/v1/users/me/password", json=right)).status_code == 204

        assert await works(ann)
        assert not await works(other)
    assert (await log_in(control, "ann")).status_code == 401
    assert (await log_in(control, "ann", "another fine password")).status_code == 201
    assert len(audited(control, "user.password_changed")) == 1


@pytest.mark.parametrize(
    ("change", "ends_token"),
    [
        ({"disabled": True}, True),
        ({"password": "another fine password"}, True),
        ({"role": "consumer"}, True),
        ({"role": "admin"}, False),
    ],
)
async def test_what_a_change_of_the_user_takes_away_ends_at_once(
    control: Control, change: dict[str, object], ends_token: bool
) -> None:
    await make(control, "ann")
    async with await session(control, "ann") as ann:
        token = await new_token(ann)
        async with connect(control.app, token["secret"]) as script:
            assert await works(script)
            done = await control.admin.put("/api/v1/users/ann", json=change)
            assert done.status_code == 200

            assert not await works(ann)
            assert await works(script) is not ends_token
    assert (published(control, token["id"]) is None) is ends_token


async def test_deleting_a_user_ends_everything_and_keeps_the_name_for_ever(
    control: Control,
) -> None:
    await make(control, "ann", email="ann@example.org")
    async with await session(control, "ann") as ann:
        token = await new_token(ann)
        assert (await control.admin.delete("/api/v1/users/ann")).status_code == 204

        assert not await works(ann)
    assert published(control, token["id"]) is None
    assert (await control.admin.get("/api/v1/users/ann")).status_code == 404
    assert (await control.admin.delete("/api/v1/users/ann")).status_code == 404
    again = await control.admin.put("/api/v1/users/ann", json={"role": "admin"})
    assert again.status_code == 409
    with control.services.database.read() as connection:
        row = connection.execute(sa.text("SELECT * FROM users WHERE name = 'ann'")).one()
    assert "example.org" not in repr(row)


async def test_sign_up_is_off_until_a_setting_turns_it_on(
    control: Control, settings: ControlSettings
) -> None:
    body = {"name": "newcomer", "password": SECRET}
    assert (await control.anonymous.post("/api/v1/signup", json=body)).status_code == 403

    app = create_app(settings.model_copy(update={"sign_up": True}), clock=control.clock)
    async with connect(app, None) as anyone:
        made = await anyone.post("/api/v1/signup", json=body)
        assert made.status_code == 201
        assert (made.json()["role"], made.json()["consumer"]) == ("consumer", "newcomer")
        assert (await anyone.post("/api/v1/signup", json=body)).status_code == 409
        wish = {**body, "name": "other", "role": "admin"}
        assert (await anyone.post("/api/v1/signup", json=wish)).status_code == 422
    app.state.services.database.close()


async def test_an_etag_guards_a_user_against_a_lost_update(control: Control) -> None:
    await make(control, "ann")
    tag = (await control.admin.get("/api/v1/users/ann")).headers["ETag"]
    first = await control.admin.put(
        "/api/v1/users/ann", json={"title": "Ann"}, headers={"If-Match": tag}
    )
    second = await control.admin.put(
        "/api/v1/users/ann", json={"title": "Bob"}, headers={"If-Match": tag}
    )

    assert (first.status_code, second.status_code) == (200, 412)


@pytest.mark.usefixtures("on_postgresql")
async def test_users_sessions_and_tokens_work_on_postgresql(control: Control) -> None:
    await make(control, "ann")
    async with await session(control, "ann") as ann:
        token = await new_token(ann)
        async with connect(control.app, token["secret"]) as script:
            assert await works(script)
        await control.admin.put("/api/v1/users/ann", json={"disabled": True})
        assert not await works(ann)
    assert (await log_in(control, "ann")).status_code == 401


def test_a_password_is_the_same_however_it_is_composed() -> None:
    passwords = Passwords(memory_kib=64, time_cost=1)
    hash = passwords.hash("cafe\u0301 au lait 123")

    assert passwords.verify(hash, "caf\u00e9 au lait 123")
    assert not passwords.verify(hash, "cafe au lait 123")
    assert not passwords.verify(None, "nobody's password")
    assert passwords.outdated(hash) is False
    assert Passwords().outdated(hash)


def test_the_longest_password_is_bounded() -> None:
    long = "".join(chr(ord("a") + index % 26) for index in range(MAX_LENGTH))
    check_password(long, "ann")
    with pytest.raises(TollwayError):
        check_password(long + "x", "ann")
