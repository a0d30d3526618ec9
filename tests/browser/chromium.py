"""The browser of the tests: one that is installed, else one that is installed now."""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers give it too little
]
APT = ["apt-get", "--yes", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::Retries=2"]
COMMANDS_OF_APT = (
    ([*APT, "update"], 90),
    ([*APT, "install", "--no-install-recommends", "chromium"], 240),
)
OF_PLAYWRIGHT = ([sys.executable, "-m", "playwright", "install", "chromium"], 120)
INSTALLS_WITHIN_S = 480
"""What all attempts take at most; a test that waits for the browser may take longer than others."""


@cache
def executable() -> str | None:
    """The path of an installed browser; None: Playwright's own, which was installed now.

    Raises ``RuntimeError`` with what went wrong, in one line, where none can be had.
    """
    found = _installed()
    if found is not None:
        return found
    lock = Path(tempfile.gettempdir()) / f"tollway-browser-{os.geteuid()}.lock"
    with lock.open("w") as held:  # of several processes of tests one installs, and others wait
        fcntl.flock(held, fcntl.LOCK_EX)
        return _installed() or _install()


def _install() -> str | None:
    """By the system where allowed, because it brings the libraries too; else by Playwright."""
    wrong = []
    is_debian = platform.system() == "Linux" and Path("/etc/debian_version").exists()
    if is_debian and os.geteuid() == 0:
        defects = [_defect(command, within_s) for command, within_s in COMMANDS_OF_APT]
        if (found := _installed()) is not None:
            return found
        wrong += [defect for defect in defects if defect is not None]
    defect = _defect(*OF_PLAYWRIGHT)
    if defect is None:
        return None
    raise RuntimeError(
        "the browser tests need Chromium or Chrome; install one of them. "
        + "; ".join([*wrong, defect])
    )


def _installed() -> str | None:
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    return next((path for path in MAC if Path(path).exists()), None)


def _defect(command: list[str], within_s: int) -> str | None:
    """What went wrong with the command, in one line."""
    told = " ".join(command)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired:
        return f"{told}: not done within {within_s} s"
    except OSError as error:
        return f"{told}: {error}"
    if done.returncode == 0:
        return None
    last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
    return f"{told}: exit {done.returncode}: {last}"
