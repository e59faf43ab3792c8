"""Frames over a trio stream: the only lines between neighbours that touch a socket."""

import trio

from qkdd.base.errors import LinkLost, PeerError, RecordSpoilt
from qkdd.net.framing import Frame, FrameReader, Kind, frame_parts
from qkdd.net.tls_stream import is_spoilt

CLOSE_TIMEOUT_S = 1.0
SEND_BYTES = 1 << 17
"""At once: TLS would let its memory grow to a whole frame, and copy and wipe it on the way, which
costs half as much again and keeps the loop waiting."""


class FrameWire:
    """One sender and one reader at a time, as :class:`~qkdd.net.tls_stream.TlsStream` wants it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = FrameReader()
        self.bytes_sent = 0
        self.bytes_received = 0

    async def send(self, frame: Frame) -> None:
        """Send a whole frame; if cancelled half-way the wire is broken.

        Error handling: LinkLost.
        """
        try:
            for part in frame_parts(frame, SEND_BYTES):
                await self._stream.send_all(part)
                self.bytes_sent += len(part)
        except trio.BrokenResourceError as error:
            raise LinkLost(f"sending: {error.__cause__ or error}") from error

    async def receive(self) -> Frame:
        """Return the next frame; may be cancelled and called again.

        Error handling: LinkLost when the peer is gone, RecordSpoilt when what came was changed on
        the way, PeerError when it sends no frames.
        """
        while (frame := self._reader.next_frame()) is None:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError as error:
                if is_spoilt(error.__cause__):
                    raise RecordSpoilt(
                        f"a record was changed on the way: {error.__cause__}"
                    ) from error
                raise LinkLost(f"receiving: {error.__cause__ or error}") from error
            if not data:
                where = "in the middle of a frame" if self._reader.mid_frame else "its session"
                raise LinkLost(f"the peer closed {where}")
            self.bytes_received += len(data)
            self._reader.feed(data)
        return frame

    async def receive_hello(self) -> bytes:
        frame = await self.receive()
        if frame.kind is not Kind.HELLO:
            raise PeerError(f"{frame.kind.name} frame before the hello")
        return bytes(frame.payload)

    async def aclose(self) -> None:
        """Say goodbye if that is possible at once; then the stream is closed."""
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self._stream.aclose()
