"""Keys: shape, checksum, and what can be told without a look-up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.keys import (
    generate,
    holds_credential,
    holds_token,
    redacted,
    secret_hash,
    well_formed,
)


@pytest.mark.parametrize("environment", ["live", "test", "admin", "user"])
def test_generated_keys_are_well_formed_and_differ(environment: str) -> None:
    keys = {generate(environment) for _ in range(50)}
    assert len(keys) == 50
    assert all(well_formed(key.encode()) for key in keys)


@given(position=st.integers(8, 36), digit=st.sampled_from("0aZ9q"))
def test_a_mistyped_key_is_told_by_its_checksum(position: int, digit: str) -> None:
    key = generate("live")
    mistyped = key[:position] + digit + key[position + 1 :]
    assert well_formed(mistyped.encode()) == (mistyped == key)


@given(st.binary(max_size=80))
def test_nothing_else_is_well_formed(data: bytes) -> None:
    assert not well_formed(data)


def test_hash_depends_on_the_pepper() -> None:
    key = generate("live").encode()
    assert secret_hash(key, b"one") != secret_hash(key, b"two")


TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzaG9wIiwiZXhwIjoxfQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"


@given(
    environment=st.sampled_from(["live", "test", "admin", "user"]),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
    cut=st.integers(13, 36),
)
def test_no_secret_nor_much_of_one_is_left_in_a_message(
    environment: str, before: str, after: str, cut: int
) -> None:
    secret = generate(environment)
    for text in (secret, secret[: max(cut, len(environment) + 9)]):
        shown = redacted(before + text + after)
        assert text not in shown
        assert secret[: len(environment) + 9] not in shown


@given(st.text(max_size=60))
def test_a_message_without_a_secret_is_left_as_it_is(text: str) -> None:
    assert redacted(text) == text
    assert not holds_credential(text.encode())
    assert not holds_token(text.encode())


def test_tokens_are_cut_whole_or_in_part() -> None:
    assert redacted(f"unknown token {TOKEN}!") == "unknown token eyJ...!"
    assert redacted(TOKEN[:40]) == "eyJ..."


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_secrets_are_found_anywhere(before: bytes, after: bytes) -> None:
    assert holds_token(before + b" " + TOKEN.encode() + after)
    key = generate("live").encode()
    assert holds_credential(before + key + b" " + after)
    assert not holds_credential(before + key[:-1] + b"-" + after)
