"""Where a reader has reached the server, for what they copy from a page."""

import re
from typing import Final

from control.portal.session import Visit

_HOST: Final = re.compile(
    r"[A-Za-z0-9.\-_]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?"
)
_UNKNOWN_HOST: Final = "localhost"


def served_at(visit: Visit) -> str:
    """``https://host``: the installation's public address, else the one in the reader's browser.
    What is no host cannot get into a sample."""
    if public_url := visit.services.settings.public_url:
        return public_url.rstrip("/")
    host = visit.request.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        host = _UNKNOWN_HOST
    return f"{'https' if visit.secure else 'http'}://{host}"
