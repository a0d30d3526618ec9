"""The receiver in the guide works as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from control.webhooks.catalog import CATALOG
from control.webhooks.events import body_of
from control.webhooks.schedule import WAITS_S
from control.webhooks.signing import Signer
from registry.clock import system_clock

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "webhooks.md").read_text()


def test_the_guides_receiver_takes_genuine_deliveries_once_and_refuses_others(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    code = re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert code is not None
    script = tmp_path / "receiver.py"
    script.write_text(code[1].replace("8099", str(unused_tcp_port)))
    signer = Signer(b"a server's secret")
    (tmp_path / "webhook.key").write_text(signer.secret("whk-1", 1) + "\n")
    now = system_clock()
    body = body_of("key.revoked", now, {"kind": "key", "key": "key-7"}).encode()

    def headers(id: str, at: int = now // 1000) -> dict[str, str]:
        signature = signer.signatures("whk-1", (1,), id, at, body)
        return {
            "webhook-id": id,
            "webhook-timestamp": str(at),
            "webhook-signature": signature,
        }

    environment = {**os.environ, "PYTHONPATH": str(ROOT / "sdk")}
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{unused_tcp_port}",
            transport=httpx.HTTPTransport(retries=8),
            trust_env=False,
        ) as client:

            def post(sent: dict[str, str], content: bytes = body) -> int:
                return client.post("/", headers=sent, content=content).status_code

            assert post(headers("evt_1")) == 204
            assert post(headers("evt_1")) == 204
            assert post(headers("evt_2"), body + b" ") == 400
            assert post(headers("evt_3", now // 1000 - 3600)) == 400
            assert post({}) == 400
    finally:
        process.terminate()
        printed, _ = process.communicate(timeout=10)
    assert printed == "key.revoked key-7\n"


@pytest.mark.parametrize("type", list(CATALOG))
def test_the_guide_names_every_event_type(type: str) -> None:
    kind, _, verb = type.partition(".")
    row = next(line for line in GUIDE.splitlines() if line.startswith(f"| `{kind}."))
    assert f"`{type}`" in row or f"`.{verb}`" in row


def test_the_guide_has_the_schedule() -> None:
    def shown(seconds: int) -> str:
        for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
            if seconds % size == 0:
                return f"{seconds // size} {unit}"
        raise AssertionError(seconds)

    listed = [shown(wait) for wait in WAITS_S]
    assert f"{', '.join(listed[:-1])} and {listed[-1]}" in " ".join(GUIDE.split())
