"""A process that starts while an issuer is away goes by the keys of the one before it."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.jwt.jwks import JwksCache, JwksTimes
from policies.jwt.kept import KeptKeySets
from policies.jwt.refusals import Reason, TokenError
from policies.jwt.verifier import TokenVerifier
from tests.fixtures.issuers import NOW, token
from tests.policies.jwt.conftest import Clock, Endpoint, document


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "jwks"


@pytest.fixture
def start(folder: Path, endpoint: Endpoint, now: Clock) -> Callable[[], TokenVerifier]:
    """Starts a process: what it knows is on disk, and its monotonic clock is another one."""

    def begin() -> TokenVerifier:
        kept = KeptKeySets(folder, now)
        verifier = TokenVerifier(JwksCache(endpoint.fetch, monotonic=Clock(7.0), kept=kept), now)
        verifier.put(document(max_lifetime_s=10_000_000))
        return verifier

    return begin


def long_lived() -> bytes:
    return token({**CLAIMS, "exp": NOW + 1_000_000})


CLAIMS = {"iss": document().issuer, "aud": "tollway", "sub": "u1"}
Start = Callable[[], TokenVerifier]


async def test_a_start_without_the_endpoint_knows_the_keys(
    start: Start, endpoint: Endpoint, folder: Path
) -> None:
    await start().verified(long_lived())
    endpoint.fails = True

    assert start().verify(long_lived())

    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_kept_keys_are_as_old_as_they_are(
    start: Start, endpoint: Endpoint, now: Clock
) -> None:
    await start().verified(long_lived())
    endpoint.fails = True
    now.at += JwksTimes().keep_s
    assert start().verify(long_lived())
    now.at += 1
    with pytest.raises(TokenError) as caught:
        start().verify(long_lived())
    assert caught.value.reason is Reason.KEYS_AWAY


async def test_keys_of_another_address_are_not_taken(
    start: Start, endpoint: Endpoint, folder: Path, now: Clock
) -> None:
    await start().verified(long_lived())
    kept = KeptKeySets(folder, now)
    assert kept.load("login", document().jwks_uri) is not None
    assert kept.load("login", "https://login.example/other") is None
    assert kept.load("other", document().jwks_uri) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"name": 1}'])
async def test_a_damaged_file_is_as_good_as_none(
    start: Start, folder: Path, content: bytes
) -> None:
    await start().verified(long_lived())
    (file,) = folder.iterdir()
    file.write_bytes(content)
    verifier = start()
    with pytest.raises(TokenError):
        verifier.verify(long_lived())
    assert await verifier.verified(long_lived())


async def test_a_set_that_is_damaged_in_its_file_is_fetched_again(
    start: Start, folder: Path, now: Clock
) -> None:
    KeptKeySets(folder, now).save("login", document().jwks_uri, b"<html>")
    assert await start().verified(long_lived())


async def test_a_removed_issuer_leaves_nothing_behind(start: Start, folder: Path) -> None:
    verifier = start()
    await verifier.verified(long_lived())
    verifier.remove("login")
    assert list(folder.iterdir()) == []


async def test_a_disk_that_takes_nothing_keeps_nobody_out(start: Start, folder: Path) -> None:
    folder.write_text("not a folder")
    assert await start().verified(long_lived())
    await asyncio.sleep(0)
