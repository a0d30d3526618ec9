"""Client and command line against a control that runs."""

import asyncio
from pathlib import Path

import pytest

import tollway
from control.settings import ControlSettings
from tests.control.running import Control, run
from tests.control.webhooks.happenings import happen, in_state
from tests.control.webhooks.receivers import receiving, status
from tollway.webhooks import verify


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What the client sees does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    update = {"webhook_allowed_networks": "127.0.0.0/8", "webhook_poll_ms": 20}
    return settings.model_copy(update=update)


@pytest.mark.usefixtures("environment")
async def test_the_client_makes_changes_tests_replays_and_removes(control: Control) -> None:
    async with receiving() as receiver:

        def work() -> tollway.webhook_endpoints.NewWebhook:
            with tollway.Client() as client:
                made = client.webhooks.create(f"http://127.0.0.1:{receiver.port}/", ["key.*"])
                assert made.secret not in repr(made)
                assert [one.id for one in client.webhooks.all()] == [made.id]
                changed = client.webhooks.change(made.id, title="mine", events=["plan.*"])
                assert (changed.title, changed.events) == ("mine", ("plan.*",))
                assert client.webhooks.get(made.id).url == made.url
                client.webhooks.test(made.id)
                return made

        made = await asyncio.to_thread(work)
        request = (await receiver.count(1))[0]
        await in_state(control, made.id, "delivered")

        def more() -> None:
            with tollway.Client() as client:
                sent = client.webhooks.deliveries(made.id, state="delivered")[0]
                client.webhooks.replay(made.id, sent.id)
                rotated = client.webhooks.rotate(made.id, 0)
                assert rotated.secret != made.secret
                client.webhooks.delete(made.id)
                with pytest.raises(tollway.NotFoundError):
                    client.webhooks.get(made.id)
                with pytest.raises(tollway.InvalidRequestError):
                    client.webhooks.get("../keys")

        await asyncio.to_thread(more)

    now = control.clock.now_ms / 1000
    assert (
        verify(request.headers, request.body, made.secret, now=lambda: now).type == "webhook.test"
    )


@pytest.mark.usefixtures("environment")
async def test_the_commands_tell_what_they_did(
    control: Control, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def command(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, monkeypatch, "webhooks", *arguments)
        out, err = capsys.readouterr()
        return code, out, err

    async with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        code, out, err = await command("create", url, "--event", "key.*")
        id = out.split()[1]
        assert code == 0
        assert "whsec_" in out
        assert "cannot be shown again" in err
        assert (await command("test", id))[1].startswith("taken with status 204")
        receiver.answer = status(500)
        code, _, err = await command("test", id)
        assert code == 1
        assert "the receiver answered 500" in err
        receiver.answer = status(204)
        happen(control)
        await in_state(control, id, "delivered", type="key.created")
        code, out, _ = await command("deliveries", id, "--state", "delivered")
        assert "key.created" in out
        _, listed, _ = await command()
        assert id in listed
        assert "whsec_" not in listed
        await command("update", id, "--disable")
        happen(control, key="key-2")
        code, _, err = await command("replay", id, "--from", "2026-01-01T00:00:00Z")
        assert code == 1
        assert "disabled" in err
        await command("update", id, "--enable")
        _, out, _ = await command("replay", id, "--from", "2026-01-01", "--to", "2036-01-01")
        assert out == "1 queued\n"
        assert (await command("replay", id))[0] == 2
        assert (await command("rotate", id, "--overlap-s", "60"))[1].count("whsec_") == 1
        assert (await command("delete", id))[0] == 0
