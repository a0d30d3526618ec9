"""The command line ``tollway``: the client, from a shell.

Exit codes: 0 done; 1 refused or failed, with one line on stderr that says why and what to do; 2 the
command itself is wrong.
"""

import os
import sys

from tollway.errors import TollwayError

__all__ = ["main"]


def main() -> None:
    """Entry point of the script ``tollway``."""
    from tollway.cli.app import app  # noqa: PLC0415 -- typer is for the command line only

    try:
        app(prog_name="tollway")
    except TollwayError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; a flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}")


def _fail(message: str) -> None:
    sys.stderr.write(f"tollway: {' '.join(message.split())}\n")
    sys.exit(1)
