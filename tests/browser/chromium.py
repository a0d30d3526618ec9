"""The browser of the tests: one that is installed, else one that is installed now."""

import os
import platform
import shutil
import subprocess
import sys
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
]
INSTALL_S = 300


@cache
def executable() -> str | None:
    """The path of an installed browser; None: Playwright's own, which was installed now.

    Raises ``RuntimeError`` with the ways out where there is none, and none can be had.
    """
    found = _installed()
    if found is not None:
        return found
    if _succeeds([sys.executable, "-m", "playwright", "install", "chromium"]):
        return None
    is_debian = platform.system() == "Linux" and Path("/etc/debian_version").exists()
    if is_debian and os.geteuid() == 0:
        apt = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        if _succeeds(["apt-get", "update"]) and _succeeds(apt):
            found = _installed()
    if found is None:
        raise RuntimeError("the browser tests need Chromium or Chrome: install one of them")
    return found


def _installed() -> str | None:
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    return next((path for path in MAC if Path(path).exists()), None)


def _succeeds(command: list[str]) -> bool:
    done = subprocess.run(command, capture_output=True, timeout=INSTALL_S, check=False)
    return done.returncode == 0
