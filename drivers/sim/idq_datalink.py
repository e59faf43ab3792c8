"""The DataLinkTarget service, which hands the ID1000's time stamps to its clients.

After the "Time Controller Series User Manual", pp. 90-91, and the maker's public Python examples.
The service runs on the host's computer and is no part of the device, but the wire between the two
is not documented: the simulator stands for both. It binds the stream's port and a client connects;
a stream is a row of messages of 64-bit numbers, and a message of no bytes ends it.
"""

import json
import shlex
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from drivers.sim.idq_recorder import Packet

FIRST_DEVICE_PORT = 5556  # of channel 1, as the manual's examples of ids show
CHANNELS = range(1, 5)
MAX_COMMAND_CHARS = 4096
OPTIONS = ("--address", "--channel", "--stream-port", "--id", "--filename", "--format")
FLAGS = ("--with-ref-index",)
END_OF_STREAM = memoryview(b"")


class Outlet(Protocol):
    """A port that one client at a time may connect to."""

    def put(self, message: memoryview) -> bool:
        """Send ``message`` whole; False if nobody is there to take it."""

    def held_bytes(self) -> int:
        """What was put and is still in memory, since the client does not read."""
        ...

    def close(self) -> None:
        """Let go of the port; what was put may still be read."""


class Refused(Exception):
    """A command that fails; the texts are not documented."""


@dataclass(slots=True, kw_only=True)
class Acquisition:
    """One channel on its way to one client."""

    channel: int
    with_references: bool
    outlet: Outlet
    last_message_s: float
    queue: deque[memoryview] = field(default_factory=deque)
    queued_bytes: int = 0
    n_records: int = 0
    n_stamps: int = 0
    errors: list[str] = field(default_factory=list)

    def flush(self) -> None:
        while self.queue and self.outlet.put(self.queue[0]):
            self.queued_bytes -= self.queue.popleft().nbytes

    def put(self, message: memoryview, *, max_bytes: int) -> None:
        if self.queued_bytes + self.outlet.held_bytes() + message.nbytes > max_bytes:
            self.errors.append(f"{message.nbytes} bytes lost: the client does not take them")
            return
        self.queue.append(message)
        self.queued_bytes += message.nbytes
        self.flush()

    def status(self, now_s: float) -> dict[str, object]:
        return {
            "acquisitions_count": self.n_records,
            "errors": [{"description": error} for error in self.errors],
            "inactivity": round(now_s - self.last_message_s, 6),
            "timestamps_count": self.n_stamps,
        }


class DataLinkTarget:
    """Opens and closes acquisitions at a client's word, and turns packets into messages."""

    def __init__(
        self,
        *,
        addresses: tuple[str, ...],
        open_port: Callable[[int], Outlet],
        max_queue_bytes: int = 1 << 28,
        message_of_empty_record: bool = False,
    ) -> None:
        """Serve the device at ``addresses``.

        Parameters
        ----------
        addresses : tuple of str
            What ``--address`` may say; empty for anything.
        open_port : function of a port
            Raises OSError.
        max_queue_bytes : int
            What waits for one client; more is lost (the limit is not documented).
        message_of_empty_record : bool
            Whether a record without events makes a message of no bytes, which the maker's example
            takes for the end of the stream (not documented).
        """
        self._addresses = addresses
        self._open_port = open_port
        self._max_queue_bytes = max_queue_bytes
        self._message_of_empty_record = message_of_empty_record
        self._now_s = 0.0
        self._acquisitions: dict[str, Acquisition] = {}

    def advance(self, now_s: float) -> None:
        """Go on to ``now_s``, and send what clients take now."""
        self._now_s = now_s
        for acquisition in self._acquisitions.values():
            acquisition.flush()

    def take(self, packet: Packet) -> bool:
        """Pass a packet on; False if no acquisition of its channel is open."""
        mine = [one for one in self._acquisitions.values() if one.channel == packet.channel]
        for acquisition in mine:
            acquisition.last_message_s = self._now_s
            acquisition.n_records += packet.ends_record
            acquisition.n_stamps += packet.stamps_ps.size
            if packet.stamps_ps.size or self._message_of_empty_record:
                message = encoded(packet, with_references=acquisition.with_references)
                acquisition.put(message, max_bytes=self._max_queue_bytes)
        return bool(mine)

    def receive(self, command: str) -> str:
        """The answer to one command, in JSON."""
        try:
            answer = self._execute(command)
        except Refused as refused:
            answer = {"error": {"description": str(refused)}}
        return json.dumps(answer)

    def close(self) -> None:
        """End every stream."""
        for name in list(self._acquisitions):
            self._stop(name)

    def _execute(self, command: str) -> object:
        verb, options = parsed(command)
        match verb:
            case "list":
                return list(self._acquisitions)
            case "status":
                return self._named(options).status(self._now_s)
            case "stop":
                return {"status": self._stop(options.get("--id", ""))}
            case "start-stream":
                return {"id": self._start(options)}
            case "start-save":
                raise Refused("start-save is not simulated")
        raise Refused(f"unrecognised command '{verb}'")

    def _start(self, options: dict[str, str]) -> str:
        address, channel = options.get("--address", ""), number(options, "--channel")
        if not address or (self._addresses and address not in self._addresses):
            raise Refused(f"no Time Controller at '{address}'")
        if channel not in CHANNELS:
            raise Refused(f"channel {channel} is outside 1..4")
        name = options.get("--id") or f"{address}:{FIRST_DEVICE_PORT + channel - 1}"
        if name in self._acquisitions:
            raise Refused(f"acquisition '{name}' is open already")
        if any(one.channel == channel for one in self._acquisitions.values()):
            raise Refused(f"channel {channel} is taken by another acquisition")
        port = number(options, "--stream-port")
        if not 0 < port < 1 << 16:
            raise Refused(f"stream port {port} is outside 1..65535")
        try:
            outlet = self._open_port(port)
        except OSError as error:
            raise Refused(f"cannot stream on port {port}: {error}") from error
        self._acquisitions[name] = Acquisition(
            channel=channel,
            with_references="--with-ref-index" in options,
            outlet=outlet,
            last_message_s=self._now_s,
        )
        return name

    def _stop(self, name: str) -> dict[str, object]:
        acquisition = self._named({"--id": name})
        acquisition.queue.append(END_OF_STREAM)
        acquisition.flush()
        acquisition.outlet.close()
        del self._acquisitions[name]
        return acquisition.status(self._now_s)

    def _named(self, options: dict[str, str]) -> Acquisition:
        name = options.get("--id", "")
        if name not in self._acquisitions:
            raise Refused(f"no acquisition '{name}'")
        return self._acquisitions[name]


def encoded(packet: Packet, *, with_references: bool) -> memoryview:
    """``<timestamp>`` or ``<timestamp><index>``, each a little-endian uint64 (manual p. 48)."""
    if not packet.stamps_ps.size:
        return memoryview(b"")
    if not with_references:  # never negative, so signed or not is the same
        return memoryview(packet.stamps_ps.astype("<i8", copy=False).data).cast("B")
    pairs = np.zeros((packet.stamps_ps.size, 2), "<u8")
    pairs[:, 0] = packet.stamps_ps
    if packet.references.size:
        pairs[:, 1] = packet.references
    return memoryview(pairs.data).cast("B")


def parsed(command: str) -> tuple[str, dict[str, str]]:
    """The verb, and the options by name."""
    try:
        words = deque(shlex.split(command[:MAX_COMMAND_CHARS]))
    except ValueError as error:
        raise Refused(str(error)) from error
    verb = words.popleft() if words else ""
    options: dict[str, str] = {}
    while words:
        option = words.popleft()
        if option in FLAGS:
            options[option] = ""
        elif option not in OPTIONS:
            raise Refused(f"unrecognised option '{option}'")
        elif not words:
            raise Refused(f"the required argument for option '{option}' is missing")
        else:
            options[option] = words.popleft()
    return verb, options


def number(options: dict[str, str], option: str) -> int:
    text = options.get(option)
    if text is None:
        raise Refused(f"the option '{option}' is required but missing")
    if not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise Refused(f"the argument ('{text}') for option '{option}' is invalid")
    return int(text)
