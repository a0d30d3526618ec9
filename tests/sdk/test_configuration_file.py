"""Configuration files are read strictly, and everything in them has a line."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollway import errors
from tollway.configuration_file import MAX_BYTES, Source, read_files, write

FILE = b"""\
# what we sell
plans:
  gold:
    title: Gold
    quota: {limit: 1000}
applications:
  web-shop:
    origins:
      - https://shop.example
"""


def read(*texts: bytes | str) -> object:
    sources = [
        Source(f"{number}.yaml", text.encode() if isinstance(text, str) else text)
        for number, text in enumerate(texts, 1)
    ]
    return read_files(sources).data


def refused(*texts: bytes | str) -> str:
    with pytest.raises(errors.InvalidRequestError) as error:
        read(*texts)
    return str(error.value)


def test_a_file_is_read_with_the_line_of_each_item() -> None:
    found = read_files([Source("a.yaml", FILE)])

    assert found.data == {
        "plans": {"gold": {"title": "Gold", "quota": {"limit": 1000}}},
        "applications": {"web-shop": {"origins": ["https://shop.example"]}},
    }
    for path, line in (
        ("plans.gold", 3), ("plans.gold.quota.limit", 5), ("applications.web-shop.origins.0", 9),
        ("plans.gold.qouta", 3), ("applications", 6),
    ):  # fmt: skip
        assert str(found.place(path)) == f"a.yaml:{line}"
    assert found.place("nothing") is None


def test_a_key_that_is_there_twice_is_refused_with_its_line() -> None:
    assert refused("plans:\n  gold: {}\n  gold: {}\n") == "1.yaml:3: 'gold' is there twice"
    assert "2.yaml:2: plans.gold is at 1.yaml:2 already" in refused(
        "plans:\n  gold: {}\n", "plans:\n  gold: {}\n"
    )


def test_several_files_share_sections() -> None:
    assert read("plans: {a: {}}", "plans: {b: {}}\nconsumers: {c: {}}", "") == {
        "plans": {"a": {}, "b": {}},
        "consumers": {"c": {}},
    }
    assert read("subscriptions: {shop: {a: free}}", "subscriptions: {shop: {b: free}}") == {
        "subscriptions": {"shop": {"a": "free", "b": "free"}}
    }
    assert "already" in refused(
        "subscriptions: {shop: {a: free}}", "subscriptions: {shop: {a: gold}}"
    )


def test_aliases_cannot_make_a_few_lines_stand_for_gigabytes() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [*{before}, *{before}]\n"
        for before, name in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
    )
    assert "1.yaml:1: anchors and aliases" in refused(bomb)
    assert "anchors and aliases" in refused("a: {b: c}\nd:\n  <<: *a\n")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system",
        "a: !!binary aGVsbG8=",
        "a: !!set {b}",
        "a: !own x",
        "a: [",
        "a: b: c",
        "a\n---\nb",
        "- a list",
        "just text",
        "1: a",
        "yes: a",
        "null: a",
        "? [a, b]\n: c",
        "a: .inf",
        "a: .nan",
        "a: 99999999999999999999",
        "[" * 1000,
        "a: " + "{b: " * 30,
        b"\xff\xfe\x00",
        b"a: \x00",
        b"x" * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_plain_configuration_is_refused(text: bytes | str) -> None:
    assert "1.yaml" in refused(text)


def test_values_are_what_they_look_like_in_json() -> None:
    text = "a: 2026-01-01\nb: 12:30\nc: '1'\nd: 1\ne: 1.5\nf: true\ng:\nh: https://x\n"
    assert read(text) == {
        "a": "2026-01-01", "b": "12:30", "c": "1", "d": 1, "e": 1.5, "f": True, "g": None,
        "h": "https://x",
    }  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_what_is_written_is_read_again_as_it_was(data: dict[str, object]) -> None:
    assert read(write(data)) == data


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_being_refused(data: bytes) -> None:
    with contextlib.suppress(errors.InvalidRequestError):
        assert isinstance(read(data), dict)
