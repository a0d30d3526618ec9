"""W3C Trace Context: what is a header, and what is ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.trace_context import TraceContext, parse_traceparent, parse_tracestate

VALID = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_standards_example_is_read() -> None:
    context = parse_traceparent(VALID)
    assert context == TraceContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)
    assert context.traceparent == VALID


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read_back(trace: int, span: int, sampled: bool) -> None:
    context = TraceContext(trace, span, sampled)
    assert parse_traceparent(context.traceparent) == context


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b",",
        VALID[:-1],
        VALID + b"-more",  # version 00 has exactly these fields
        VALID.upper(),
        b"ff" + VALID[2:],
        b"00-" + b"0" * 32 + VALID[35:],
        VALID[:36] + b"0" * 16 + b"-01",
        VALID.replace(b"-", b"_"),
        b" " + VALID,
        VALID + b"\n",
        VALID[:-2] + b"zz",
    ],
)
def test_what_does_not_follow_the_standard_is_no_context(value: bytes) -> None:
    assert parse_traceparent(value) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    context = parse_traceparent(b"cc" + VALID[2:] + b"-what.the-future.brings")
    assert context is not None
    assert context.sampled


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_ignored(value: bytes) -> None:
    parse_traceparent(value)
    parse_tracestate(value)


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"congo=t61rcWkgMzE", [("congo", "t61rcWkgMzE")]),
        (b"a=1 , b=2,,c@d=3", [("a", "1"), ("b", "2"), ("c@d", "3")]),
        (b"a=1,a=2", []),
        (b"A=1", []),
        (b"a", []),
        (b"a=\xff", []),
        (b"a=" + b"1" * 600, []),
        (b",".join(b"k%d=1" % n for n in range(33)), []),
    ],
)
def test_tracestate_is_taken_whole_or_not_at_all(
    value: bytes, members: list[tuple[str, str]]
) -> None:
    assert parse_tracestate(value) == members
