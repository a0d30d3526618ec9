"""The text of a token is read in one way only."""

import base64
import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.jwt.compact import MAX_TOKEN_BYTES, base64url, json_object, parse
from policies.jwt.refusals import Reason, TokenError
from tests.fixtures.issuers import b64, compact, token


def unsigned(header: bytes, payload: bytes = b"{}") -> bytes:
    return compact(header, payload, lambda _: b"\1" * 256)


@pytest.mark.parametrize(
    "credential",
    [
        b"",
        b"..",
        b"a.b",
        b"a.b.c.d",
        b"." * 10_000,
        unsigned(b"[]"),
        unsigned(b'"text"'),
        unsigned(b"{"),
        unsigned(b'{"alg": NaN}'),
        unsigned(b'{"alg": 1e999}'),
        unsigned(b'{"alg": "RS256", "alg": "none"}'),
        unsigned(b'{"alg": "RS256", "\\u0061lg": "none"}'),
        unsigned(b'{"alg": "RS256"}', b'{"iss": "a", "iss": "b"}'),
        unsigned(b'{"alg": "RS256"}', b'{"x": {"iss": "a", "iss": "b"}}'),
        unsigned(b'{"alg": "RS256"}', b"{" + b'"a":{' * 2000),
        unsigned(b'{"alg": "RS256"}', b'{"a": ' + b"[" * 2500 + b"]" * 2500 + b"}"),
        unsigned(b'{"alg": "RS256"}', b'{"a": ' + b"1" * 4500 + b"}"),
        unsigned(b'{"alg": "RS256"}', b'{"a": "\\ud800"}'),
        unsigned(b'{"alg": "RS256"}', b'{"a": "\xff"}'),
        unsigned('{"alg": "RS256"}'.encode("utf-16")),
        unsigned(b'\xef\xbb\xbf{"alg": "RS256"}'),
        unsigned(b'{"alg": "RS256"} {}'),
        unsigned(b'{"alg": "RS256", "x": "' + b"a" * 2100 + b'"}'),
        token().replace(b".", b"=.", 1),
        token() + b"=",
        token() + b"\n",
        b" " + token(),
        token() + b"+/",
        token().replace(b".", b". ", 1),
        token().decode().replace("e", "\N{CYRILLIC SMALL LETTER IE}").encode(),
    ],
)
def test_what_is_not_plainly_a_token_is_malformed(credential: bytes) -> None:
    with pytest.raises(TokenError) as caught:
        parse(credential)
    assert caught.value.reason is Reason.MALFORMED


def test_a_token_that_is_too_long_is_not_even_decoded() -> None:
    with pytest.raises(TokenError, match="longer than 8192 bytes"):
        parse(b"a" * MAX_TOKEN_BYTES + b"..")


@given(st.binary(max_size=9000))
@example(b"e30.e30.e30")
def test_any_bytes_are_parsed_or_refused_and_nothing_else(credential: bytes) -> None:
    with contextlib.suppress(TokenError):
        parse(credential)


@given(st.binary(min_size=1, max_size=64))
def test_base64url_reads_what_was_written(data: bytes) -> None:
    assert base64url(b64(data).encode()) == data


@given(st.binary(min_size=1, max_size=24), st.data())
def test_no_two_texts_stand_for_the_same_bytes(data: bytes, draw: st.DataObject) -> None:
    text = bytearray(b64(data).encode())
    at = draw.draw(st.integers(0, len(text) - 1))
    text[at] = draw.draw(st.integers(0, 255))
    try:
        found = base64url(bytes(text))
    except ValueError:
        return
    assert bytes(text) == base64.urlsafe_b64encode(found).rstrip(b"=")
    assert found != data or bytes(text) == b64(data).encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_every_json_object_is_read_as_the_standard_library_reads_it(value: object) -> None:
    text = json.dumps({"value": value}).encode()
    assert json_object(text) == json.loads(text)
