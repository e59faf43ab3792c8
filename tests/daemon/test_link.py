"""The way to the neighbour: one that vanishes is noticed, one that stalls leaves nothing behind."""

import trio

from qkdd.daemon import link
from qkdd.daemon.link import VANISHED_S


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
