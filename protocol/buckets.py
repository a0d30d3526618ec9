"""Which applications a canary of some share answers: the same for every role, gateway and start."""

import hashlib
from typing import Final

BUCKETS: Final = 1000
"""A share of one permille is one bucket."""


def bucket(model: str, application: str) -> int:
    """A number below :data:`BUCKETS` that is always the same for a model and an application, and
    uniform over applications.

    A canary answers the applications whose number is below its permille: raising the share only
    adds some. Numbers for different models have nothing to do with each other, so that no
    application is always among the first.
    """
    digest = hashlib.sha256(f"{model}/{application}".encode()).digest()  # names have no slash
    return int.from_bytes(digest[:8]) % BUCKETS
