"""The management API's own description, as it is answered: an OpenAPI 3.1 document.

It is made when the API changes (:mod:`control.openapi`) and not by a process that serves it, which
would take seconds and 26 MB.
"""

from functools import cache
from importlib.resources import files

import msgspec


@cache
def description() -> bytes:
    """The document as JSON without spaces."""
    return msgspec.json.format((files("control") / "openapi.json").read_bytes(), indent=-1)
