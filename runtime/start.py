"""What keeps a process from starting: said in one line, with exit code 1."""

import contextlib
import os
import sys
from collections.abc import Iterator

from pydantic import ValidationError

from protocol.errors import TollwayError

EXIT_VARIABLE = "TOLLWAY_REFUSAL_EXIT"
"""Set by a supervisor, which must tell a role that says it cannot start from one that crashed."""
REFUSED = 78
"""The exit code that a supervisor asks for (``EX_CONFIG`` of sysexits.h)."""


class StartError(Exception):
    """The process cannot start. The message is one line: what is wrong, and what to do."""


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """End the process with one line on stderr and exit code 1 when the block says that it cannot
    start: a setting that is missing or wrong, a file that cannot be used, a :class:`StartError`, a
    :class:`TollwayError`."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        reason = f"setting TOLLWAY_{name}: {first['msg']}"
    except StartError as error:
        reason = str(error)
    except TollwayError as error:
        reason = error.public
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or ''}".removesuffix(": ")
    else:
        return
    print(f"tollwayd: {reason}", file=sys.stderr)  # noqa: T201 -- for the person at the terminal
    sys.exit(int(os.environ.get(EXIT_VARIABLE, "1")))
