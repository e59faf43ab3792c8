"""Frames between neighbours: cut a byte stream into frames, and nothing else.

    magic "QKDD" | protocol version u8 | kind u8 | 0 u16 | length u32 LE | payload | tag

``length`` counts the payload. A batch ends with a tag of 16 bytes, a hello has none. What a frame
says is not believed here: the tag covers it, and only what it covers is parsed.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from qkdd.auth.tags import TAG_BYTES
from qkdd.base.errors import PeerError
from qkdd.base.protocol_version import PROTOCOL_VERSION

MAGIC = b"QKDD"
HEADER = struct.Struct("<4sBBHI")
MAX_MESSAGE_BYTES = 1 << 20
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES + (64 << 10)
MAX_HELLO_BYTES = 4 << 10
SHORT_PIECE_BYTES = 4 << 10
"""What is shorter is joined with what follows: each piece that is kept costs its own overhead."""


class Kind(IntEnum):
    HELLO = 1
    BATCH = 2


MAX_BYTES = {Kind.HELLO: MAX_HELLO_BYTES, Kind.BATCH: MAX_BATCH_BYTES}
KIND_TAG_BYTES = {Kind.HELLO: 0, Kind.BATCH: TAG_BYTES}


@dataclass(frozen=True, slots=True)
class Frame:
    kind: Kind
    payload: bytes | memoryview
    tag: bytes


def frame_bytes(frame: Frame) -> bytes:
    """Write a frame."""
    return b"".join(frame_parts(frame, HEADER.size + len(frame.payload)))


def frame_parts(frame: Frame, part_bytes: int) -> Iterator[bytes | memoryview]:
    """Write a frame in parts of ``part_bytes``, the last of them with the tag behind.

    A frame of a block's clicks in one piece would be memory that is new each time, and a copy more.
    """
    if len(frame.payload) > MAX_BYTES[frame.kind] or len(frame.tag) != KIND_TAG_BYTES[frame.kind]:
        raise ValueError(
            f"{frame.kind.name} of {len(frame.payload)} + {len(frame.tag)} bytes, "
            f"limit {MAX_BYTES[frame.kind]} + {KIND_TAG_BYTES[frame.kind]}"
        )
    header = HEADER.pack(MAGIC, PROTOCOL_VERSION, frame.kind, 0, len(frame.payload))
    payload, done = memoryview(frame.payload), part_bytes - HEADER.size
    part: bytes | memoryview = b"".join((header, payload[:done]))
    for start in range(done, len(payload), part_bytes):
        yield part
        part = payload[start : start + part_bytes]
    yield b"".join((part, frame.tag))


class FrameReader:
    """Takes bytes in pieces of any size, gives whole frames. After a PeerError it is dead.

    A frame is put together once, when its last piece is there: a block's clicks come in many.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._begin = 0
        """Where the next frame begins in the first piece."""
        self._n_bytes = 0
        """From there on."""
        self._error: PeerError | None = None

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._n_bytes > 0

    def feed(self, data: bytes | bytearray) -> None:
        if self._pieces and len(self._pieces[-1]) < SHORT_PIECE_BYTES:
            self._pieces[-1] += data
        elif data:
            self._pieces.append(bytes(data))
        self._n_bytes += len(data)

    def next_frame(self) -> Frame | None:
        """Return the next frame, or None if it is not complete.

        Raises
        ------
        PeerError
            As soon as a header is there that no frame can have, however long it says it is.
        """
        if self._error is not None:
            raise self._error
        if self._n_bytes < HEADER.size:
            return None
        try:
            kind, n_payload = read_header(bytes(self._first(HEADER.size)))
        except PeerError as error:
            self._error = error
            self._pieces.clear()
            self._begin = self._n_bytes = 0
            raise
        end = HEADER.size + n_payload
        stop = end + KIND_TAG_BYTES[kind]
        if self._n_bytes < stop:
            return None
        frame = self._first(stop)
        self._begin += stop
        self._n_bytes -= stop
        if not self._n_bytes:
            self._pieces.clear()
            self._begin = 0
        return Frame(kind, frame[HEADER.size : end], bytes(frame[end:]))

    def _first(self, n_bytes: int) -> memoryview:
        """Return the first bytes, all in one piece from now on."""
        if len(self._pieces[0]) - self._begin < n_bytes:
            rest = memoryview(self._pieces[0])[self._begin :]
            self._pieces = [b"".join((rest, *self._pieces[1:]))]
            self._begin = 0
        return memoryview(self._pieces[0])[self._begin : self._begin + n_bytes]


def read_header(header: bytes) -> tuple[Kind, int]:
    """Return kind and length of the payload."""
    magic, version, kind_no, reserved, n_payload = HEADER.unpack(header)
    if magic != MAGIC:
        raise PeerError(f"frame begins with {magic!r}: this is no qkdd")
    if version != PROTOCOL_VERSION:
        raise PeerError(
            f"peer speaks protocol version {version}, we speak {PROTOCOL_VERSION}: install the "
            "same release on both relays"
        )
    try:
        kind = Kind(kind_no)
    except ValueError as error:
        raise PeerError(f"frame of unknown kind {kind_no}") from error
    if reserved or n_payload > MAX_BYTES[kind]:
        raise PeerError(
            f"{kind.name} frame of {n_payload} bytes, limit {MAX_BYTES[kind]}, reserved {reserved}"
        )
    return kind, n_payload
