"""``tollway apply``, ``diff`` and ``export`` against a control that runs."""

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.control.audited_models import published
from tests.control.running import Control, run

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "configuration.md"
Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What the commands show does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def command(
    environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    async def called(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, monkeypatch, *arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return called


def guides_file() -> str:
    found = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1].replace("credit-risk", "risk")


async def test_the_guides_file_is_applied_shown_and_exported(
    control: Control, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await published(control)
    file = tmp_path / "tollway.yaml"
    file.write_text(guides_file())

    assert (await command("diff", "-f", str(file), "--exit-code"))[0] == 1
    code, shown, note = await command("diff", "-f", str(file))
    assert code == 0
    assert note == "6 changes; nothing was changed\n"
    assert "+ subscription web-shop/risk\n" in shown
    assert await command("apply", "-f", str(file), "--reason", "größer") == (
        0, shown, "6 changes\n",
    )  # fmt: skip
    assert await command("diff", "-f", str(file), "--exit-code") == (0, "", "no differences\n")

    _, exported, _ = await command("export")
    whole = tmp_path / "whole.yaml"
    whole.write_text(exported)
    arguments = ("diff", "-f", str(whole), "--prune", "--exit-code")
    assert await command(*arguments) == (0, "", "no differences\n")

    file.write_text(guides_file().replace("Acme Corporation", "Acme"))
    _, shown, _ = await command("apply", "-f", str(file))
    assert shown == '~ consumer acme\n    title: "Acme Corporation" -> "Acme"\n'
    _, shown, _ = await command("diff", "-f", str(file), "--json")
    assert json.loads(shown) == {"applied": False, "changes": []}
    (tmp_path / "none.yaml").write_text("subscriptions: {}\n")
    _, shown, _ = await command("apply", "-f", str(tmp_path / "none.yaml"), "--prune")
    assert shown == "- subscription web-shop/risk\n"


async def test_a_refusal_names_file_and_line_and_changes_nothing(
    control: Control, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "tollway.yaml"
    for text, expected in (
        ("plans:\n  gold:\n    qouta: 1\n", "tollway.yaml:3: plans.gold.qouta: is not known here"),
        ("planes: {}\n", "tollway.yaml:1: planes: "),
        ("consumers:\n  acme: {}\nmodels:\n  risk:\n    aliases:\n      stable: 9\n",
         "tollway.yaml:6: models.risk.aliases.stable: "),
        ("consumers:\n  acme: {}\n  acme: {}\n", "tollway.yaml:3: 'acme' is there twice"),
    ):  # fmt: skip
        file.write_text(text)
        for name in ("apply", "diff"):
            code, out, err = await command(name, "-f", str(file))
            assert (code, out) == (1, "")
            assert expected in err
            assert err.count("\n") == 1
    assert (await control.admin.get("/api/v1/consumers/acme")).status_code == 404


async def test_stdin_and_several_files_make_one_configuration(
    control: Control, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stdin:
        buffer = io.BytesIO(b"applications: {shop: {consumer: acme}}")

    monkeypatch.setattr("sys.stdin", Stdin())
    file = tmp_path / "consumers.yaml"
    file.write_text("consumers: {acme: {}}\n")

    _, out, _ = await command("apply", "-f", "-", "-f", str(file))

    assert "+ application shop\n" in out
    assert "+ consumer acme\n" in out
