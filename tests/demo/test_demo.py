"""``make demo`` as a new user starts it, on the real stack."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A data directory that the tests of this module share, and a free port."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "sdk"),
        "DEMO_DATA": str(tmp_path_factory.mktemp("demo")),
        "DEMO_PORT": "0",
    }


def _once(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env={**environment, "DEMO_ONCE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_first_start_deploys_both_models_and_its_curl_lines_answer(
    environment: dict[str, str],
) -> None:
    done = _once(environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("equals scikit-learn's answer") == 4
    assert "breast-cancer: version 2 deployed" in done.stdout
    assert "diabetes: version 1 deployed" in done.stdout
    assert "breast-cancer: version 3 is a guarded canary" in done.stdout
    assert "diabetes: version 3 waits for the approval of samuel" in done.stdout
    assert "requests of the last 10 days" in done.stdout
    assert "the portal's pages show what was filled in" in done.stdout


def test_the_second_start_finds_everything_again_and_ctrl_c_ends_it(
    environment: dict[str, str],
) -> None:
    # Under nohup and in a script's background jobs, SIGINT is ignored from the start.
    start = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "os.execv(sys.executable, sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", start, sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("serving"):
                    break
            printed = "".join(lines)
            for found in ("breast-cancer: version 1", "diabetes: version 1", "diabetes: version 3"):
                assert f"{found} is there already" in printed
            assert "requests of the last" not in printed
            for role in ("consumer", "publisher", "sponsor", "admin", "auditor"):
                assert f"\n  {role} " in printed
            assert printed.count("\ncurl ") == 4
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()  # its stack notices, and ends as well


def test_what_the_stack_refuses_is_one_line_and_exit_code_1(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = _once({**environment, "DEMO_DATA": str(file)})
    assert done.returncode == 1
    assert done.stderr.startswith("tollwayd: ")
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_none_is_one_line_and_exit_code_1(environment: dict[str, str]) -> None:
    done = _once({**environment, "DEMO_PORT": "http"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "demo: DEMO_PORT is 'http', but a port is a number\n"
