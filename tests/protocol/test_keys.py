"""Keys: shape, checksum, and what can be told without a look-up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.keys import generate, secret_hash, well_formed


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
