"""How two neighbours open a session: hello and answer, marks, then the first tag."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from qkdd.auth.budget import AuthBudget
from qkdd.auth.tags import SessionContext
from qkdd.base.ids import NodeId
from qkdd.net.framing import Frame, Kind
from qkdd.net.hello import (
    Hello,
    check_answer,
    decode_hello,
    encode_hello,
    link_of,
    opening_bytes,
)
from qkdd.net.peer import AuthKeys, PeerSession
from qkdd.net.wire import FrameWire


@dataclass(frozen=True, slots=True)
class Opening:
    """What one end brings to a session of one link."""

    hello: Hello
    begin: Callable[[Hello], Awaitable[AuthKeys]]
    """Told the peer's hello, moves both streams to the larger marks and returns them."""
    budget: AuthBudget
    """The link's own, kept across its sessions."""


async def dial_session(stream: trio.abc.Stream, opening: Opening) -> PeerSession:
    """Open a session as the end that dialled; ``stream`` has verified ``opening.hello.peer``.

    Error handling: PeerError, LinkLost, SecurityAlarm, and what ``begin`` raises. The stream is
    the session's from here on: it is closed if the session does not open.
    """
    wire = FrameWire(stream)
    try:
        opening.budget.refuse_if_spent()
        ours = encode_hello(opening.hello)
        await wire.send(Frame(Kind.HELLO, ours, b""))
        theirs = await wire.receive_hello()
        hello = decode_hello(theirs, peer=NodeId(opening.hello.peer))
        check_answer(opening.hello, hello)
        keys = await opening.begin(hello)
        return PeerSession(wire, _context(opening.hello, ours, theirs), keys, opening.budget)
    except BaseException:
        await wire.aclose()
        raise


async def accept_session(
    stream: trio.abc.Stream, peer: NodeId, admit: Callable[[Hello], Awaitable[Opening]]
) -> PeerSession:
    """Open a session as the end that listened; ``stream`` has verified ``peer``.

    ``admit`` is told the peer's hello and finds the link; it raises PeerError to refuse. Error
    handling as in :func:`dial_session`.
    """
    wire = FrameWire(stream)
    try:
        theirs = await wire.receive_hello()
        hello = decode_hello(theirs, peer=peer)
        opening = await admit(hello)
        check_answer(opening.hello, hello)
        opening.budget.refuse_if_spent()
        ours = encode_hello(opening.hello)
        await wire.send(Frame(Kind.HELLO, ours, b""))
        keys = await opening.begin(hello)
        return PeerSession(wire, _context(opening.hello, theirs, ours), keys, opening.budget)
    except BaseException:
        await wire.aclose()
        raise


def _context(hello: Hello, dialler: bytes, acceptor: bytes) -> SessionContext:
    return SessionContext(
        link_of(hello),
        NodeId(hello.node),
        NodeId(hello.peer),
        opening_bytes(dialler, acceptor),
    )
