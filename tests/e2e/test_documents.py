"""The code on the front page and in the tutorial works as it stands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import RunningStack

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/first-model.md"])
def test_python_on_the_page_runs(page: str, stack: RunningStack, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    code = "\n".join(blocks)
    assert "client.deploy(" in code
    code = code.replace("http://127.0.0.1:8080", stack.url)
    code = code.replace('Path("data/admin.token")', f"Path({str(stack.data / 'admin.token')!r})")
    script = tmp_path / "page.py"
    script.write_text(code)
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    for line in result.stdout.splitlines():
        if line.startswith("curl "):
            answer = as_curl_would(line)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["predictions"]) == 2


def as_curl_would(line: str) -> httpx.Response:
    """Send what a printed curl line would."""
    _, *words = shlex.split(line)
    options = list(zip(words[:-1:2], words[1::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
    (body,) = (value for option, value in options if option == "-d")
    return httpx.post(words[-1], content=body, headers=headers, timeout=30)
