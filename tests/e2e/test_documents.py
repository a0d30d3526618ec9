"""The code on the front page and in the tutorial works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

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
