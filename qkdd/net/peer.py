"""A session with a neighbour once it is open: authenticated batches of messages both ways."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import msgspec
import trio

from qkdd.auth.budget import AuthBudget
from qkdd.auth.seal import Opener, Sealer
from qkdd.auth.tags import SessionContext
from qkdd.base.errors import LinkLost, PeerError, QkdError
from qkdd.base.secret import Secret
from qkdd.net.codec import MAX_BATCH_MESSAGES, decode_batch, encode_message, join_batch
from qkdd.net.framing import MAX_MESSAGE_BYTES, Frame, Kind
from qkdd.net.wire import FrameWire

MAX_QUEUED_BYTES = MAX_MESSAGE_BYTES
"""One batch waits while one is on its way: enough to keep the writer busy, and no more."""

Take: TypeAlias = Callable[[int], Awaitable[Secret]]
"""``await take(n)``: the next ``n`` bytes of one direction's authentication key, marked as used
where a crash cannot forget it. Raises OutOfKey."""


@dataclass(frozen=True, slots=True)
class AuthKeys:
    """The two directions' authentication key, from the marks that both ends have agreed on."""

    take_tx: Take
    take_rx: Take


@dataclass(frozen=True, slots=True)
class PeerStatistics:
    """A snapshot of one session."""

    bytes_sent: int
    bytes_received: int
    batches_sent: int
    batches_received: int
    messages_sent: int
    messages_received: int
    queued_bytes: int
    auth_bytes_sent: int
    """Bytes of authentication key used to send."""
    auth_bytes_received: int


class PeerSession:
    """Messages to and from one neighbour, in order, each exactly as the peer's daemon sent it.

    Any task may :meth:`send`; one task runs :meth:`run_writer`; one task at a time receives. Leave
    the ``async with`` block to close. A session that has raised is over: open a new one.
    """

    def __init__(
        self, wire: FrameWire, context: SessionContext, keys: AuthKeys, budget: AuthBudget
    ) -> None:
        self.link = context.link
        self.peer = context.peer
        self._wire = wire
        self._keys = keys
        self._sealer = Sealer(context)
        self._opener = Opener(context, budget)
        self._outbox: deque[bytes] = deque()
        self._queued_bytes = 0
        self._writing = False
        self._over = False
        self._deaf = False
        self._work = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._unopened: Frame | None = None
        self._inbox: deque[msgspec.Struct] = deque()
        self._messages_sent = self._messages_received = 0
        self._auth_bytes_sent = self._auth_bytes_received = 0

    async def send(self, *messages: msgspec.Struct) -> None:
        """Queue ``messages``, into one batch if they fit; waits while a batch's worth is queued.

        Error handling: ValueError if one is no message or above 1 MiB; LinkLost once the session
        is over. That it was queued says nothing of its arrival.
        """
        encoded = [encode_message(message) for message in messages]
        await trio.lowlevel.checkpoint()
        for data in encoded:
            while self._queued_bytes and self._queued_bytes + len(data) > MAX_QUEUED_BYTES:
                self._refuse_if_over()
                await self._room.park()
            self._refuse_if_over()
            self._outbox.append(data)
            self._queued_bytes += len(data)
            self._work.unpark()

    async def drain(self) -> None:
        """Wait until all that was queued has left this process.

        Error handling: LinkLost once the session is over, for then some of it may be lost.
        """
        await trio.lowlevel.checkpoint()
        self._refuse_if_over()
        while self._outbox or self._writing:
            await self._room.park()
            self._refuse_if_over()

    async def run_writer(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Send what is queued until cancelled; whatever waits shares one batch and one tag.

        Error handling: LinkLost, and OutOfKey from the authentication key.
        """
        task_status.started()
        try:
            while True:
                while not self._outbox:
                    await self._work.park()
                await self._write(self._next_batch())
        finally:
            self._end()

    def _next_batch(self) -> list[bytes]:
        batch = [self._outbox.popleft()]
        n_bytes = len(batch[0])
        while (
            self._outbox
            and n_bytes + len(self._outbox[0]) <= MAX_MESSAGE_BYTES
            and len(batch) < MAX_BATCH_MESSAGES
        ):
            batch.append(self._outbox.popleft())
            n_bytes += len(batch[-1])
        self._queued_bytes -= n_bytes
        self._writing = True
        self._room.unpark_all()
        return batch

    async def _write(self, batch: list[bytes]) -> None:
        payload = join_batch(batch)
        n_key = self._sealer.key_bytes
        tag = self._sealer.seal(Kind.BATCH, payload, await self._keys.take_tx(n_key))
        self._auth_bytes_sent += n_key
        await self._wire.send(Frame(Kind.BATCH, payload, tag))
        self._messages_sent += len(batch)
        self._writing = False
        self._room.unpark_all()

    async def receive(self) -> msgspec.Struct:
        """Return the next message; may be cancelled and called again.

        Error handling: LinkLost when the peer is gone or has closed, PeerError when it broke the
        protocol, SecurityAlarm on a bad tag too many, OutOfKey.
        """
        if self._deaf:
            raise LinkLost(f"the session with {self.peer} is over")
        if not self._inbox:  # one batch is taken in one turn of the loop
            await trio.lowlevel.checkpoint()
        try:
            while not self._inbox:
                await self._receive_batch()
        except QkdError:
            # What follows a frame that failed cannot be opened either: it would only count tags.
            self._deaf = True
            self._end()
            raise
        return self._inbox.popleft()

    async def _receive_batch(self) -> None:
        if self._unopened is None:
            self._unopened = await self._wire.receive()
        await self._open(self._unopened)
        messages = decode_batch(self._unopened.payload)
        self._unopened = None
        self._messages_received += len(messages)
        self._inbox.extend(messages)

    async def _open(self, frame: Frame) -> None:
        if frame.kind is not Kind.BATCH:
            raise PeerError(f"{frame.kind.name} frame in an open session")
        if n_key := self._opener.key_bytes:
            # A pad taken and lost to a cancellation would set the two ends apart.
            with trio.CancelScope(shield=True):
                self._opener.load(await self._keys.take_rx(n_key))
            self._auth_bytes_received += n_key
        self._opener.open(frame.kind, frame.payload, frame.tag)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> msgspec.Struct:
        """Never ends: a session that is over raises."""
        return await self.receive()

    def statistics(self) -> PeerStatistics:
        return PeerStatistics(
            bytes_sent=self._wire.bytes_sent,
            bytes_received=self._wire.bytes_received,
            batches_sent=self._sealer.n_sealed,
            batches_received=self._opener.n_opened,
            messages_sent=self._messages_sent,
            messages_received=self._messages_received,
            queued_bytes=self._queued_bytes,
            auth_bytes_sent=self._auth_bytes_sent,
            auth_bytes_received=self._auth_bytes_received,
        )

    async def aclose(self) -> None:
        """Close at once, without waiting for what is queued; forgets the keys."""
        self._end()
        try:
            await self._wire.aclose()
        finally:
            self._sealer.wipe()
            self._opener.wipe()

    def _end(self) -> None:
        self._over = True
        self._outbox.clear()
        self._queued_bytes = 0
        self._room.unpark_all()

    def _refuse_if_over(self) -> None:
        if self._over:
            raise LinkLost(f"the session with {self.peer} is over")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
