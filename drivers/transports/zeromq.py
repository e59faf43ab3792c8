"""ZeroMQ under trio: questions on a REQ socket, messages from a PAIR socket.

No byte stream, so no `Transport`: what is sent and received are whole messages. libzmq does its
own reading in a thread and connects again by itself, without a word. Hence:

- A REQ socket whose reply was not awaited (a timeout, a cancel) can neither ask again nor tell a
  late reply from the next one. It is closed, and the next question has a new socket.
- A PAIR socket that was cut may have lost messages: its monitor tells, and that is its end.
- What waits in a socket is bounded, in messages and in the size of each; more stays with the peer.

libzmq's descriptor only says that something has happened; after each wake-up the socket is tried.
"""

from types import TracebackType

import numpy as np
import numpy.typing as npt
import trio
import zmq
from zmq.utils.monitor import recv_monitor_message

from drivers.errors import BadReply, NoReply
from drivers.exchange_lock import ExchangeLock

CONNECT_TIMEOUT_S = 5.0
REPLY_LIMIT_BYTES = 1 << 20
MESSAGE_LIMIT_BYTES = 1 << 28
WAITING_MESSAGES = 8
"""In each PAIR socket. libzmq's own default of 1000 would hold many seconds of a tag stream."""
HANDSHAKE_POLL_S = 0.005


class ZmqAsker:
    """One REQ socket at a time; each question a message of text, answered by one."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._context = context
        self._endpoint = endpoint
        self._socket: zmq.Socket[bytes] | None = None
        self._lock = ExchangeLock()

    async def ask(self, question: str) -> str:
        """Send one message and return the reply; the caller brings the timeout.

        Raises
        ------
        BadReply
            If the reply is no text.
        """
        async with self._lock:
            socket = self._socket or self._connected()
            self._socket = None  # a socket that is cut in between is not used again
            try:
                await _send(socket, question.encode())
                reply = await _receive(socket)
            except BaseException:
                socket.close(linger=0)
                raise
            self._socket = socket
        try:
            return reply.decode()
        except UnicodeDecodeError as error:
            raise BadReply(f"{self._endpoint}: not text: {reply[:32]!r}") from error

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _connected(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, REPLY_LIMIT_BYTES)
        socket.connect(self._endpoint)
        return socket


class ZmqStream:
    """Messages that a peer pushes into one PAIR connection."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._endpoint = endpoint
        self._cut = False
        self._socket = context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, WAITING_MESSAGES)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_LIMIT_BYTES)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._socket.connect(endpoint)

    @property
    def closed(self) -> bool:
        return self._socket.closed

    async def established(self) -> None:
        """Wait until the peer is there; the caller brings the timeout."""
        while True:
            if zmq.EVENT_HANDSHAKE_SUCCEEDED in self._events():
                return
            await trio.sleep(HANDSHAKE_POLL_S)

    def ready(self) -> list[npt.NDArray[np.uint8]]:
        """Return the messages that have arrived, without waiting; they are not copied.

        Raises
        ------
        NoReply
            If the connection was cut: what came before has been returned.
        """
        messages: list[npt.NDArray[np.uint8]] = []
        self._cut = self._cut or zmq.EVENT_DISCONNECTED in self._events()
        while len(messages) < WAITING_MESSAGES:
            try:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            messages.append(np.frombuffer(frame.buffer, np.uint8))
        if self._cut and not messages:
            raise NoReply(f"{self._endpoint}: the stream was cut")
        return messages

    def close(self) -> None:
        if self._socket.closed:
            return
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def _events(self) -> set[int]:
        events = set()
        while True:
            try:
                events.add(int(recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]))
            except zmq.Again:
                return events


class ZmqLink:
    """All the sockets to one instrument; closed together."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._askers: list[ZmqAsker] = []
        self._streams: list[ZmqStream] = []

    async def asker(self, host: str, port: int) -> ZmqAsker:
        """Make a way to ask, if anything listens there: libzmq would wait for it for ever.

        Raises
        ------
        NoReply
            If nothing does.
        """
        endpoint = tcp_endpoint(host, port)
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                await trio.aclose_forcefully(await trio.open_tcp_stream(host, port))
        except trio.TooSlowError as error:
            raise NoReply(f"{endpoint}: no connection within {CONNECT_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise NoReply(f"{endpoint}: cannot connect: {error}") from error
        asker = ZmqAsker(self._context, endpoint)
        self._askers.append(asker)
        return asker

    async def stream(self, host: str, port: int) -> ZmqStream:
        """Connect to a PAIR socket and wait for its handshake.

        Raises
        ------
        NoReply
            If there is none within `CONNECT_TIMEOUT_S`.
        """
        endpoint = tcp_endpoint(host, port)
        stream = ZmqStream(self._context, endpoint)
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                await stream.established()
        except trio.TooSlowError as error:
            stream.close()
            raise NoReply(f"{endpoint}: no stream within {CONNECT_TIMEOUT_S:g} s") from error
        except BaseException:
            stream.close()
            raise
        self._streams = [*(one for one in self._streams if not one.closed), stream]
        return stream

    def __enter__(self) -> "ZmqLink":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for asker in self._askers:
            asker.close()
        for stream in self._streams:
            stream.close()
        self._context.destroy(linger=0)


def tcp_endpoint(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


async def _send(socket: zmq.Socket[bytes], message: bytes) -> None:
    while True:
        try:
            socket.send(message, zmq.NOBLOCK)
        except zmq.Again:
            await trio.lowlevel.wait_readable(socket.fileno())
        else:
            return


async def _receive(socket: zmq.Socket[bytes]) -> bytes:
    while True:
        try:
            return socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            await trio.lowlevel.wait_readable(socket.fileno())
