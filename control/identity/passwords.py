"""Passwords: argon2id, with the parameters of the OWASP Password Storage Cheat Sheet."""

import unicodedata
from functools import cache
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from protocol.errors import Code, TollwayError

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
"""Characters. Bounded, because hashing takes what it is given."""
MIN_DIFFERENT: Final = 5
MEMORY_KIB: Final = 19 * 1024
TIME_COST: Final = 2
PARALLELISM: Final = 1


class Passwords:
    """Hashes and verifies. Both take tens of milliseconds of a core and 19 MiB: call in threads
    whose number is bounded."""

    def __init__(
        self,
        *,
        memory_kib: int = MEMORY_KIB,
        time_cost: int = TIME_COST,
        parallelism: int = PARALLELISM,
    ) -> None:
        self._hasher = _hasher(memory_kib, time_cost, parallelism)
        # What a log-in by nobody is checked against, so that it takes as long as any other.
        self._nobody = _of_nobody(memory_kib, time_cost, parallelism)

    def hash(self, password: str) -> str:
        """The argon2id hash, with its parameters and a salt of its own."""
        return self._hasher.hash(_normal(password))

    def verify(self, hash: str | None, password: str) -> bool:
        """Whether the password is right. As slow for a user without one (``hash`` None)."""
        try:
            right = self._hasher.verify(self._nobody if hash is None else hash, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return right and hash is not None

    def outdated(self, hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(hash)


def _hasher(memory_kib: int, time_cost: int, parallelism: int) -> PasswordHasher:
    return PasswordHasher(
        time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism, type=Type.ID
    )


@cache
def _of_nobody(memory_kib: int, time_cost: int, parallelism: int) -> str:
    """A hash that no password is stored under: once in a process, for it costs as much as any."""
    return _hasher(memory_kib, time_cost, parallelism).hash("nobody's password")


def check_password(password: str, user: str) -> None:
    """Refuse a password that anybody would try first. The message never repeats it."""
    text = _normal(password)
    if not MIN_LENGTH <= len(text) <= MAX_LENGTH:
        raise TollwayError(
            Code.INVALID, f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters; this has not"
        )
    if len(set(text)) < MIN_DIFFERENT or text.casefold().strip() == user.casefold():
        raise TollwayError(
            Code.INVALID,
            f"this password is guessed at once: use at least {MIN_DIFFERENT} different characters, "
            "and not the user's name",
        )


def _normal(password: str) -> str:
    # The same characters however the keyboard composes them (NIST SP 800-63B, 5.1.1.2).
    return unicodedata.normalize("NFKC", password)
