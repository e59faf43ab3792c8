"""One end of a link: dial or listen, open sessions, and open them again when they break."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import structlog
import trio

from qkdd.base.errors import (
    LinkLost,
    OutOfKey,
    PeerError,
    RecordSpoilt,
    SecurityAlarm,
    StoreError,
)
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.config import Link, host_and_port
from qkdd.daemon.link_end import LinkEnd
from qkdd.daemon.session import run_session
from qkdd.daemon.silence import within
from qkdd.daemon.supervise import supervise
from qkdd.daemon.turnover import Terms
from qkdd.keys.messages import AuthMarks, StoreState
from qkdd.net.hello import Hello
from qkdd.net.opening import Opening, accept_session, dial_session
from qkdd.net.peer import AuthKeys, PeerSession
from qkdd.net.tls import accept_tls, dial_tls
from qkdd.net.tls_stream import TlsStream
from qkdd.net.trust import TrustKeeper

log = structlog.get_logger(__name__)

T = TypeVar("T")

OPEN_TIMEOUT_S = 10.0
HANDSHAKES_AT_ONCE = 16
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 3, 2, 3
VANISHED_S = 10
"""A peer that has vanished is noticed within this time: by probes of the kernel, which cost no
authentication key as a message of ours would; or, while something that we said is not yet
acknowledged and so no probe is sent, by TCP_USER_TIMEOUT (tcp(7))."""

MAY_FAIL = (LinkLost, PeerError, SecurityAlarm, OutOfKey, StoreError, OSError, trio.TooSlowError)


class LinkService:
    """Runs one link for as long as the relay lives."""

    def __init__(self, node: NodeId, end: LinkEnd, trust: TrustKeeper) -> None:
        self._node = node
        self._end = end
        self._config: Link = end.config
        self._link = LinkId(end.config.name)
        self._trust = trust
        self._state: StoreState | None = None
        self._uncalled = f"nobody has called at {end.config.listen} yet"

    def offer(self, terms: Terms) -> bool:
        """Go over to these once the peer has them too; return whether there is anything to do."""
        return self._end.turnover.offer(terms)

    def _go_over(self) -> None:
        terms = self._end.turnover.take()
        if terms is not None:
            self._end = replace(
                self._end, config=terms.config, settings=terms.settings, ours=terms.ours
            )
            self._config = terms.config
            log.info("new settings in force", link=self._link)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ready when it listens; a link that dials is ready at once."""
        try:
            await self._run_until_cancelled(task_status)
        finally:
            if self._end.board_key is not None:
                self._end.board_key.wipe()

    async def _run_until_cancelled(self, task_status: trio.TaskStatus[None]) -> None:
        if self._config.listen is None:
            task_status.started()
            await self._supervised(self._dial)
            return
        host, port = host_and_port(self._config.listen)
        (listener,) = await trio.open_tcp_listeners(port, host=host)
        async with listener:
            self._end.status.enter("down", self._uncalled)
            task_status.started()
            await self._supervised(lambda: self._accept(listener))

    async def _supervised(self, once: Callable[[], Awaitable[None]]) -> None:
        def failed(reason: str) -> None:
            self._end.status.enter("down", reason)

        async def sessions() -> None:
            while True:
                self._go_over()
                self._end.entropy(1)  # without sound randomness no session, and no light
                try:
                    async with trio.open_nursery() as nursery:  # so that every failure is a group
                        nursery.start_soon(once)
                except* RecordSpoilt:
                    self._end.status.n_spoilt_records += 1
                    raise

        await supervise(f"link {self._link}", sessions, restart_on=MAY_FAIL, failed=failed)

    async def _dial(self) -> None:
        assert self._config.connect is not None
        host, port = host_and_port(self._config.connect)
        opening = await self._opening()
        with within(OPEN_TIMEOUT_S, "session"):
            raw = await trio.open_tcp_stream(host, port)

            async def dial(raw: trio.SocketStream) -> tuple[PeerSession, TlsStream]:
                trust, peer = self._trust.now, NodeId(self._config.peer)
                tls = await dial_tls(raw, trust.dialling, expected=peer, revoked=trust.revoked)
                return await dial_session(tls, opening), tls

            session, tls = await _opened(raw, dial)
        await self._run(session, tls)

    async def _accept(self, listener: trio.SocketListener) -> None:
        tls = await self._peer_at(listener)
        with within(OPEN_TIMEOUT_S, "session"):
            session = await accept_session(tls, NodeId(self._config.peer), self._admit)
        await self._run(session, tls)

    async def _peer_at(self, listener: trio.SocketListener) -> TlsStream:
        """Shake hands with whoever comes, several at a time, until it is the peer.

        A stranger who stalls or fails holds nobody up, and is no failure of the link.
        """
        found: list[TlsStream] = []
        slots = trio.Semaphore(HANDSHAKES_AT_ONCE)

        async def accept(raw: trio.SocketStream) -> tuple[TlsStream, NodeId]:
            trust = self._trust.now
            return await accept_tls(raw, trust.accepting, trust.revoked)

        async def shake(raw: trio.SocketStream) -> None:
            try:
                with trio.fail_after(OPEN_TIMEOUT_S):
                    tls, node = await _opened(raw, accept)
            except (LinkLost, PeerError, OSError, trio.TooSlowError) as error:
                reason = str(error) or f"no handshake within {OPEN_TIMEOUT_S:g} s"
                log.warning("stranger turned away", link=self._link, reason=reason)
                if isinstance(error, PeerError) or self._end.status.reason == self._uncalled:
                    self._end.status.enter("down", f"turned away: {reason}")  # maybe the neighbour
            else:
                if node == self._config.peer and not found:
                    found.append(tls)
                    nursery.cancel_scope.cancel()
                else:
                    log.warning("stranger turned away", link=self._link, node=node)
                    await trio.aclose_forcefully(tls)
            finally:
                slots.release()

        async with trio.open_nursery() as nursery:
            while True:
                await slots.acquire()
                nursery.start_soon(shake, await listener.accept())
        return found[0]

    async def _run(self, session: PeerSession, tls: TlsStream) -> None:
        assert self._state is not None
        der = tls.getpeercert(binary_form=True)
        try:
            async with session, trio.open_nursery() as nursery:
                nursery.start_soon(self._trust.until_revoked, der)
                await run_session(self._end, session, self._state)
        finally:
            with trio.CancelScope(shield=True):
                await self._end.store.do(lambda store: store.end_session(self._link))

    async def _admit(self, hello: Hello) -> Opening:
        if hello.link != self._link or hello.node != self._config.peer:
            raise PeerError(
                f"node {hello.node!r} opens link {hello.link!r}, we listen for link "
                f"{self._link!r} to {self._config.peer!r}"
            )
        return await self._opening()

    async def _opening(self) -> Opening:
        marks = await self._end.store.do(lambda store: store.auth_marks(self._link))
        hello = Hello(
            link=self._link,
            node=self._node,
            peer=self._config.peer,
            incarnation=marks.incarnation,
            tx=marks.tx,
            rx=marks.rx,
            psk_id=marks.psk_id,
        )
        return Opening(hello, self._begin, self._end.status.budget)

    async def _begin(self, theirs: Hello) -> AuthKeys:
        marks = AuthMarks(
            incarnation=theirs.incarnation, tx=theirs.tx, rx=theirs.rx, psk_id=theirs.psk_id
        )
        store = self._end.store
        self._state = await store.alone(lambda s: s.begin_session(self._link, marks))

        async def take_tx(n_bytes: int) -> Secret:
            ready = store.pads(self._link, "tx", n_bytes)
            if ready is not None:
                return ready
            return await store.alone(lambda s: s.take_tx(self._link, n_bytes))

        async def take_rx(n_bytes: int) -> Secret:
            ready = store.pads(self._link, "rx", n_bytes)
            if ready is not None:
                return ready
            return await store.alone(lambda s: s.take_rx(self._link, n_bytes))

        return AuthKeys(take_tx, take_rx)


async def _opened(
    raw: trio.SocketStream, opening: Callable[[trio.SocketStream], Awaitable[T]]
) -> T:
    """Open what is to be opened on a connection, or close the connection."""
    try:
        _keep_alive(raw)
        return await opening(raw)
    except BaseException:
        await trio.aclose_forcefully(raw)
        raise


def _keep_alive(stream: trio.SocketStream) -> None:
    options = trio.socket
    stream.setsockopt(options.SOL_SOCKET, options.SO_KEEPALIVE, 1)
    stream.setsockopt(options.IPPROTO_TCP, options.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    stream.setsockopt(options.IPPROTO_TCP, options.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    stream.setsockopt(options.IPPROTO_TCP, options.TCP_KEEPCNT, KEEPALIVE_PROBES)
    stream.setsockopt(options.IPPROTO_TCP, options.TCP_USER_TIMEOUT, 1000 * VANISHED_S)
