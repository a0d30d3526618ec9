"""Names of models, labels, consumers, applications and plans."""

import re

from protocol.errors import Code, TollwayError

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
_NAME = re.compile(NAME_PATTERN)


def check_name(name: str, what: str = "name") -> str:
    """Return ``name`` when it matches ``[a-z0-9][a-z0-9-]{0,62}``; raise ``INVALID`` otherwise."""
    # fullmatch: `$` alone would let a trailing newline through.
    if _NAME.fullmatch(name) is None:
        raise TollwayError(
            Code.INVALID,
            f"{what} {name[:80]!r} is not valid: use 1 to 63 of a-z, 0-9 and '-', "
            "not starting with '-'",
        )
    return name
