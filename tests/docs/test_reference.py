"""The reference pages name everything that there is: a page that is out of date fails here."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from control.settings import ControlSettings
from gateway.lane import HEADERS_READ
from gateway.settings import GatewaySettings
from protocol.configuration import EngineDoc
from protocol.errors import STATUS
from protocol.frames import ContractStats, EngineStats
from serving.metrics import exposition
from serving.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


@pytest.mark.parametrize("role", [GatewaySettings, ControlSettings, WorkerSettings])
def test_every_setting_and_its_default_is_documented(role: type[BaseSettings]) -> None:
    text = page("settings.md")
    for name, field in role.model_fields.items():
        if field.is_required():
            default = "required"
        else:
            default = "unset" if field.default in (None, "") else f"`{field.default}`"
        assert f"| `TOLLWAY_{name.upper()}` | {default} |" in text, name


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {
        f"TOLLWAY_{name.upper()}"
        for role in (GatewaySettings, ControlSettings, WorkerSettings)
        for name in role.model_fields
    }
    assert set(re.findall(r"^\| `(TOLLWAY_\w+)`", page("settings.md"), re.MULTILINE)) == known


def test_every_error_code_is_documented_with_its_status() -> None:
    found = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", page("errors.md"), re.MULTILINE))
    assert found == {code.value: str(status) for code, status in STATUS.items()}


def test_every_metric_in_the_code_is_documented_and_the_other_way_round() -> None:
    sources = [
        *(ROOT / role / "metrics.py" for role in ("gateway", "control", "serving")),
        ROOT / "gateway" / "app.py",
        ROOT / "gateway" / "cold_starts.py",
        ROOT / "gateway" / "tokens.py",
        ROOT / "gateway" / "access_log.py",
        ROOT / "gateway" / "trace_export.py",
        ROOT / "gateway" / "limiting.py",
        ROOT / "gateway" / "remotes.py",
        ROOT / "gateway" / "shadowing.py",
        ROOT / "gateway" / "capture.py",
        ROOT / "gateway" / "upstream.py",
        ROOT / "gateway" / "routing.py",
        ROOT / "gateway" / "seals.py",
    ]
    named = {
        name
        for source in sources
        for name in re.findall(r'["\' ](tollway_[a-z_]+)["{ ]', source.read_text())
    }
    documented = set(re.findall(r"^\| `(tollway_[a-z_]+)`", page("metrics.md"), re.MULTILINE))
    assert {name.removesuffix("_total") for name in named} == {
        name.removesuffix("_total") for name in documented
    }


def test_the_workers_metrics_have_the_labels_that_are_documented() -> None:
    doc = EngineDoc(model="m", version=1, slot=0, address="unix:/e", state="ready")
    contract = ContractStats(mode="warn", rules=1, values={"age": {"minimum": 1}})
    text = exposition([(doc, EngineStats(contract=contract))])
    written = {
        re.sub(r"_(bucket|sum|count)$", "", name): set(re.findall(r"(\w+)=", labels)) - {"le"}
        for name, labels in re.findall(r"^(tollway_\w+)\{(.*)\}", text, re.MULTILINE)
    }
    worker = page("metrics.md").partition("## Worker")[2]
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(tollway_\w+)` \| ([^|]*) \|", worker, re.MULTILINE)
    }
    assert written == documented


def test_every_request_header_that_the_gateway_reads_is_documented() -> None:
    text = page("headers.md").lower()
    for header in HEADERS_READ - {"content-length"}:
        assert f"`{header}`" in text


def test_every_response_header_that_the_gateway_writes_is_documented() -> None:
    text = page("headers.md").lower()
    sources = [ROOT / "gateway" / name for name in ("invoke.py", "answer.py", "lane.py")]
    sources += [ROOT / "gateway" / "endings.py", ROOT / "policies" / "plan_limits.py"]
    written = {
        header
        for source in sources
        for header in re.findall(r'\(\s*b"([a-z-]+[a-z])",', source.read_text())
    }
    assert "tollway-prediction-id" in written
    for header in written - {"content-type", "content-length"}:
        assert f"`{header}`" in text, header


def test_every_make_target_and_role_is_documented() -> None:
    text = page("commands.md")
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in set(targets) - {"help"}:
        assert f"`make {target}`" in text, target
    for command in ("up", "control", "gateway", "worker"):
        assert f"`tollwayd {command}`" in text


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for source in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", source.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (source.parent / target).exists(), f"{source.name}: {target}"
