"""``tollwayd audit``: verifies while control runs, exports, and says what is wrong with exit 1."""

from pathlib import Path

import pytest

from control.audit.command import main
from registry.store.audit import audit
from runtime.start import StartError
from tests.control.running import Control


@pytest.fixture
def database_url() -> str:
    """Empty: the file in the data directory, as the command finds it."""
    return ""


@pytest.fixture
def settings(tmp_path: Path) -> object:
    from control.settings import ControlSettings

    return ControlSettings(data_dir=tmp_path / "data")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


async def test_a_log_is_verified_exported_and_verified_again_without_its_database(
    control: Control, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await control.admin.put("/api/v1/models/risk")
    control.services.checkpoints.make_if_due()
    data = control.settings.data_dir
    archive, public = tmp_path / "archive.jsonl", tmp_path / "public.pem"

    assert run("verify", "--data", data) == 0
    first = capsys.readouterr().out
    assert run("public-key", "--data", data) == 0
    public.write_text(capsys.readouterr().out)
    assert run("export", "--data", data, "--output", archive) == 0
    assert run("verify", "--file", archive, "--public-key", public) == 0
    again = capsys.readouterr().out

    assert first.startswith("OK ")
    assert first.split(", ")[:3] == again.split(", ")[:3]
    assert archive.stat().st_mode & 0o777 == 0o600


async def test_an_edited_log_is_a_line_for_each_finding_and_exit_code_1(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    await control.admin.put("/api/v1/models/risk")
    with control.services.database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_no_update")
        connection.execute(audit.update().where(audit.c.seq == 2).values(actor="nobody"))

    assert run("verify", "--data", control.settings.data_dir) == 1
    assert capsys.readouterr().out == "edited: entry 2 is not what was recorded\n"


def test_where_there_is_no_log_none_is_made(tmp_path: Path) -> None:
    from protocol.errors import TollwayError

    with pytest.raises(TollwayError, match="no audit log"):
        main(["verify", "--data", str(tmp_path)])
    with pytest.raises(StartError, match="first start"):
        main(["public-key", "--data", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
