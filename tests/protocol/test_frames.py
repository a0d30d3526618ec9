"""Frames survive any cutting of the byte stream; what is no frame is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.frames import (
    HEADER,
    HEADER_BYTES,
    FrameDecoder,
    Kind,
    ProtocolError,
    auth_proof,
    encode_header,
)

u32 = st.integers(0, 2**32 - 1)
frames = st.lists(
    st.tuples(
        st.sampled_from(list(Kind)), st.integers(0, 255), st.integers(0, 65535), u32, u32, u32, u32,
        u32, st.binary(max_size=200),
    ),
    max_size=8,
)  # fmt: skip


@given(frames=frames, cuts=st.lists(st.integers(1, 64), min_size=1, max_size=40))
def test_frames_arrive_whole_however_the_stream_is_cut(
    frames: list[tuple[int, ...]], cuts: list[int]
) -> None:
    stream = b"".join(
        encode_header(kind, len(body), flags=flags, status=status, id=id_, a=a, b=b, c=c, d=d)
        + body
        for kind, flags, status, id_, a, b, c, d, body in frames
    )
    decoder = FrameDecoder()
    received = []
    position = turn = 0
    while position < len(stream):
        cut = cuts[turn % len(cuts)]
        received.extend(decoder.feed(stream[position : position + cut]))
        position += cut
        turn += 1
    assert [tuple(frame) for frame in received] == frames


@pytest.mark.parametrize("length", [0, HEADER_BYTES - 5, 2**31])
def test_length_out_of_bounds_ends_the_connection(length: int) -> None:
    data = HEADER.pack(length, 1, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(ProtocolError):
        list(FrameDecoder().feed(data))


def test_proof_depends_on_token_and_nonce() -> None:
    assert auth_proof(b"token", "n1") != auth_proof(b"token", "n2")
    assert auth_proof(b"token", "n1") != auth_proof(b"other", "n1")
