"""Frames out of a byte stream, whole or byte by byte."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import PeerError
from qkdd.base.protocol_version import PROTOCOL_VERSION
from qkdd.net.framing import (
    HEADER,
    MAX_BATCH_BYTES,
    MAX_HELLO_BYTES,
    Frame,
    FrameReader,
    Kind,
    frame_bytes,
    frame_parts,
)

FRAMES = st.one_of(
    st.builds(Frame, st.just(Kind.HELLO), st.binary(max_size=40), st.just(b"")),
    st.builds(
        Frame, st.just(Kind.BATCH), st.binary(max_size=40), st.binary(min_size=16, max_size=16)
    ),
)


def read_all(reader: FrameReader) -> list[Frame]:
    frames = []
    while (frame := reader.next_frame()) is not None:
        frames.append(frame)
    return frames


def test_a_frame_on_the_wire_is_this() -> None:
    assert frame_bytes(Frame(Kind.HELLO, b"hi", b"")).hex(" ") == (
        f"51 4b 44 44 {PROTOCOL_VERSION:02x} 01 00 00 02 00 00 00 68 69"
    )


@given(frames=st.lists(FRAMES, max_size=5), sizes=st.lists(st.integers(1, 30), min_size=1))
def test_frames_come_back_however_the_stream_was_cut(frames: list[Frame], sizes: list[int]) -> None:
    stream = b"".join(frame_bytes(frame) for frame in frames)
    reader, got, start, turn = FrameReader(), [], 0, 0
    while start < len(stream):
        size = sizes[turn % len(sizes)]
        reader.feed(stream[start : start + size])
        got += read_all(reader)
        start, turn = start + size, turn + 1
    assert got == frames
    assert not reader.mid_frame


@given(frame=FRAMES, n_bytes=st.integers(HEADER.size, 60))
def test_parts_of_a_frame_are_the_frame_and_no_longer_than_asked_for(
    frame: Frame, n_bytes: int
) -> None:
    parts = [bytes(part) for part in frame_parts(frame, n_bytes)]
    assert b"".join(parts) == frame_bytes(frame)
    assert [len(part) for part in parts[:-1]] == [n_bytes] * (len(parts) - 1)
    assert len(parts[-1]) <= n_bytes + len(frame.tag)


@given(data=st.binary(max_size=60))
def test_no_bytes_from_the_peer_break_the_reader(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    with suppress(PeerError):
        read_all(reader)


def header(
    magic: bytes = b"QKDD",
    version: int = PROTOCOL_VERSION,
    kind: int = 2,
    reserved: int = 0,
    length: int = 0,
) -> bytes:
    return HEADER.pack(magic, version, kind, reserved, length)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (header(magic=b"HTTP"), "no qkdd"),
        (header(version=PROTOCOL_VERSION + 1), f"we speak {PROTOCOL_VERSION}:"),
        (header(kind=0), "unknown kind 0"),
        (header(kind=3), "unknown kind 3"),
        (header(reserved=1), "reserved 1"),
        (header(length=MAX_BATCH_BYTES + 1), "limit 1114112"),
        (header(kind=1, length=MAX_HELLO_BYTES + 1), "limit 4096"),
        (header(length=2**32 - 1), "limit"),
    ],
)
def test_a_bad_header_is_refused_before_its_payload_comes_and_for_ever(
    data: bytes, complaint: str
) -> None:
    reader = FrameReader()
    reader.feed(data)
    with pytest.raises(PeerError, match=complaint):
        reader.next_frame()
    reader.feed(frame_bytes(Frame(Kind.HELLO, b"", b"")))
    with pytest.raises(PeerError, match=complaint):
        reader.next_frame()


def test_the_largest_batch_passes() -> None:
    frame = Frame(Kind.BATCH, bytes(MAX_BATCH_BYTES), bytes(16))
    reader = FrameReader()
    reader.feed(frame_bytes(frame))
    assert reader.next_frame() == frame


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.BATCH, bytes(MAX_BATCH_BYTES + 1), bytes(16)),
        Frame(Kind.BATCH, b"", bytes(15)),
        Frame(Kind.HELLO, b"", bytes(16)),
    ],
)
def test_a_frame_over_the_limits_is_never_written(frame: Frame) -> None:
    with pytest.raises(ValueError, match="limit"):
        frame_bytes(frame)
