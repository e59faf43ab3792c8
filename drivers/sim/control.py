"""The lab's control socket: what a person does to fibres, and the daemons must find out.

One connection asks one thing: a line of JSON there, a line of JSON back. The socket lies beside
LAB.toml and is its owner's alone (0600). No instrument can be reached by it, and no host is told.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import trio
from msgspec import Meta

from drivers.sim.config import Attack
from drivers.sim.mishaps import FaultDone, FaultKind

MAX_ORDER_BYTES = 4096
MAX_ANSWER_BYTES = 1 << 22
PATIENCE_S = 5.0
"""For an order to come whole, and for an answer to be taken."""

LONGEST_NAME_BYTES = 100  # of a socket, by sockaddr_un: 108 with its end, fewer elsewhere

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a line raises that is no JSON, or nested without an end."""

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Turn = Annotated[float, Meta(ge=-7, le=7)]


class DarkOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="dark"):
    """Cut the fibre of ``link`` for so long from now; 0 mends it."""

    link: str
    seconds: Seconds


class AttackOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="attack"):
    """Attack from now on, in place of what was done before; None ends it."""

    attack: Attack | None
    links: tuple[str, ...] = ()
    """Empty: every link."""


class FaultOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="fault"):
    """Have an instrument be so for some time from now, in place of any fault that it has."""

    link: str
    """Or the name of a source of noise."""
    instrument: str
    fault: FaultKind
    seconds: Seconds
    """0 ends it."""


class KickOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="kick"):
    """Turn the polarisation in the fibre at once, and for good: somebody has moved it."""

    link: str
    turn_rad: tuple[Turn, Turn, Turn]
    """About the three axes of the Poincare sphere; the opposite turns it back."""


class StatusOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="status"):
    """Nothing but the answer."""


Order: TypeAlias = DarkOrder | AttackOrder | FaultOrder | KickOrder | StatusOrder


class LinkDone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is being done to a link."""

    name: str
    dark_s: float
    """How long its fibre is still cut."""

    attack: Attack | None
    faults: tuple[FaultDone, ...] = ()


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state after the order."""

    lab_s: float
    """Since the lab's start."""

    cpu_s: float
    """Of the lab's process."""

    links: tuple[LinkDone, ...]


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing was done."""

    error: str


class ControlRefused(Exception):
    """The lab does not do what it was asked."""


class ControlSocket:
    """Listens as soon as it exists; ``close`` takes the name away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old_mask = os.umask(0o177)
        try:
            with short_name(path) as name:
                self._listener.bind(name)
        except OSError:
            self._listener.close()
            raise
        finally:
            os.umask(old_mask)
        self._listener.listen(8)
        self._listener.setblocking(False)

    async def run(self, obey: Callable[[Order], Answer]) -> None:
        """Answer until cancelled; ``obey`` may raise ControlRefused."""

        async def serve(stream: trio.SocketStream) -> None:
            with trio.move_on_after(PATIENCE_S), suppress(trio.BrokenResourceError):
                await stream.send_all(answer_to(await read_line(stream), obey) + b"\n")
            await stream.aclose()

        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._listener))
        await trio.serve_listeners(serve, [listener])

    def close(self) -> None:
        self._listener.close()
        self._path.unlink(missing_ok=True)


def control_path(lab: Path) -> Path:
    """Where the lab of a LAB.toml listens."""
    return lab.with_name(lab.name + ".control")


def answer_to(line: bytes, obey: Callable[[Order], Answer]) -> bytes:
    """The line that answers ``line``; a mistake in it is named, and changes nothing."""
    try:
        order = msgspec.json.decode(line, type=Order)
        return msgspec.json.encode(obey(order))
    except (*UNREADABLE, ControlRefused) as error:
        return msgspec.json.encode(Refusal(str(error)))


async def read_line(stream: trio.SocketStream) -> bytes:
    line = bytearray()
    while b"\n" not in line and len(line) <= MAX_ORDER_BYTES:
        chunk = await stream.receive_some(MAX_ORDER_BYTES)
        if not chunk:
            break
        line += chunk
    return bytes(line.partition(b"\n")[0])


def ask(lab: Path, order: Order) -> Answer:
    """Let the running lab of a LAB.toml do something.

    Raises
    ------
    ControlRefused
        If it does not do it.
    OSError
        If no lab answers.
    """
    path = control_path(lab)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(PATIENCE_S)
        try:
            with short_name(path) as name:
                asking.connect(name)
        except OSError as error:
            raise OSError(f"no lab answers at {path}: {error.strerror or error}") from error
        asking.sendall(msgspec.json.encode(order) + b"\n")
        line = bytearray()
        while len(line) < MAX_ANSWER_BYTES and (chunk := asking.recv(1 << 16)):
            line += chunk
    try:
        return msgspec.json.decode(line, type=Answer)
    except UNREADABLE:
        raise ControlRefused(refusal_in(bytes(line))) from None


def refusal_in(line: bytes) -> str:
    with suppress(*UNREADABLE):
        return msgspec.json.decode(line, type=Refusal).error
    return f"the lab says {line[:80]!r}, which is no answer"


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of ``path`` that fits a socket's address, however deep its folder is."""
    if len(os.fsencode(path)) <= LONGEST_NAME_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
