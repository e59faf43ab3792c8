"""The way to the neighbour: one that vanishes is noticed, one that stalls leaves nothing behind."""

import datetime
import os
from pathlib import Path
from typing import cast

import pytest
import trio

from qkdd.base.ids import NodeId
from qkdd.config import Link
from qkdd.daemon import link
from qkdd.daemon.link import VANISHED_S, LinkService
from qkdd.daemon.link_end import LinkEnd
from qkdd.daemon.status import LinkStatus
from qkdd.daemon.turnover import Terms, Turnover
from qkdd.net.pki import Authority, Issued
from qkdd.net.tls import dial_tls, dialling_context
from qkdd.net.tls_stream import TlsStream
from qkdd.net.trust import TrustFiles, TrustKeeper, read_trust
from qkdd.station.settings import Instrument, ReceiverSettings

NOW = datetime.datetime.now(datetime.UTC)
CONFIG = Link(
    name="a-b",
    peer="b",
    role="receiver",
    listen="127.0.0.1:0",
    receiver=ReceiverSettings(tagger=Instrument(model="s15-tdc1", resource="tcp://x:1")),
)


async def connected() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        return near, await listener.accept()


async def test_a_peer_that_vanishes_is_noticed_silent_or_spoken_to() -> None:
    near, far = await connected()
    async with near, far:
        link._keep_alive(near)
        option = trio.socket
        idle = near.getsockopt(option.IPPROTO_TCP, option.TCP_KEEPIDLE)
        interval = near.getsockopt(option.IPPROTO_TCP, option.TCP_KEEPINTVL)
        probes = near.getsockopt(option.IPPROTO_TCP, option.TCP_KEEPCNT)
        assert idle + interval * probes <= VANISHED_S
        # Probes are not sent while data waits for its acknowledgement: this limit is for that.
        unheard_ms = near.getsockopt(option.IPPROTO_TCP, option.TCP_USER_TIMEOUT)
        assert unheard_ms == 1000 * VANISHED_S


async def test_a_connection_that_opens_no_session_is_closed() -> None:
    near, far = await connected()

    async def stall(stream: trio.SocketStream) -> None:
        assert stream is far
        await trio.sleep_forever()

    async with near:
        with trio.move_on_after(0.01):
            await link._opened(far, stall)
        assert await near.receive_some() == b""


class Site:
    """A link service of node ``a`` at its door, and certificates of everybody."""

    def __init__(self, folder: Path) -> None:
        self.config = CONFIG
        self.status = LinkStatus(name="a-b", peer="b", role="receiver")
        self.board_key = None
        self.entropy = os.urandom
        self.turnover = Turnover(cast("Terms", None))
        self.authority = Authority.open_or_create(folder, now=NOW, days=1)
        self.contexts = {
            name: self._files(self.authority.issue_node(name, now=NOW, days=1)) for name in "abc"
        }
        self.service = LinkService(
            NodeId("a"),
            cast("LinkEnd", self),  # all of it that is asked for before there is a session
            TrustKeeper(read_trust(TrustFiles(*self.contexts["a"]))),
        )

    def _files(self, issued: Issued) -> tuple[Path, Path, Path]:
        return issued.certificate, issued.key, self.authority.certificate

    async def dial(self, listener: trio.SocketListener, name: str) -> TlsStream:
        raw = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        return await dial_tls(raw, dialling_context(*self.contexts[name]), expected=NodeId("a"))


async def test_an_end_that_listens_says_whether_anybody_has_called(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.service.run)
        assert (site.status.state, site.status.reason) == (
            "down",
            "nobody has called at 127.0.0.1:0 yet",
        )
        nursery.cancel_scope.cancel()


async def test_strangers_at_the_door_hold_nobody_up(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()[:2]
    found: list[TlsStream] = []
    opened = trio.Event()
    async with listener, trio.open_nursery() as nursery:

        async def door() -> None:
            found.append(await site.service._peer_at(listener))
            opened.set()

        site.status.enter("down", site.service._uncalled)
        nursery.start_soon(door)
        with trio.fail_after(5):
            silent = await trio.open_tcp_stream(*address)
            noisy = await trio.open_tcp_stream(*address)
            await noisy.send_all(b"GET / HTTP/1.1\r\n\r\n")
            other = await site.dial(listener, "c")
            with pytest.raises(trio.BrokenResourceError):
                await other.receive_some()
            peer = await site.dial(listener, "b")
            await opened.wait()
            await peer.send_all(b"hello")
            assert await found[0].receive_some() == b"hello"
            assert await silent.receive_some() == b""
        assert "turned away" in str(site.status.reason)
        for stream in (silent, noisy, other, peer, found[0]):
            await trio.aclose_forcefully(stream)
