"""HTTPS with mutual TLS: one small server, its clients known by their certificates.

The handler is ``async def handle(request) -> Response``. A response's body is a bytearray that is
sent without a copy and wiped, since it may hold key.
"""

import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h11
import structlog
import trio

from qkdd.base.errors import PeerError
from qkdd.net.http_talk import MAX_BODY_BYTES, HttpRequest, HttpTalk, Response
from qkdd.net.identity import sae_candidates
from qkdd.net.revocation import NONE, Revoked
from qkdd.net.tls_socket import TlsSocket

log = structlog.get_logger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 90.0
BODY_TIMEOUT_S = 15.0
SEND_TIMEOUT_S = 15.0

Handler = Callable[[HttpRequest], Awaitable[Response]]


def server_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """TLS 1.2 and 1.3, client certificate required, no session tickets.

    A resumed session would skip the check of a revoked certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def client_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    context.load_cert_chain(certificate, key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, slots=True, eq=False)
class _Client:
    caller: str | None
    der: bytes | None
    scope: trio.CancelScope


class HttpsServer:
    """Serves ``handle`` to the SAEs of ``known`` whose certificates are not ``revoked``."""

    def __init__(
        self,
        handle: Handler,
        *,
        known: Iterable[str],
        max_connections_per_sae: int,
        revoked: Revoked = NONE,
    ) -> None:
        self._handle = handle
        self._known = frozenset(known)
        self._limit = max_connections_per_sae
        self._revoked = revoked
        self._context: ssl.SSLContext | None = None
        self._open: Counter[str | None] = Counter()
        self._clients: set[_Client] = set()

    def replace(
        self,
        context: ssl.SSLContext,
        *,
        known: Iterable[str],
        max_connections_per_sae: int,
        revoked: Revoked,
    ) -> None:
        """Serve by these from now on; whoever would not be let in any more is hung up on."""
        self._context, self._known = context, frozenset(known)
        self._limit, self._revoked = max_connections_per_sae, revoked
        for client in tuple(self._clients):
            if client.caller not in self._known or self._is_revoked(client.der):
                client.scope.cancel()

    def _is_revoked(self, der: bytes | None) -> bool:
        try:
            self._revoked.check(der)
        except PeerError as error:
            log.warning("client turned away", reason=str(error))
            return True
        return False

    async def serve(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        *,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until cancelled; ``task_status`` hears of the listeners (port 0 is allowed)."""

        self._context = context

        async def connection(raw: trio.SocketStream) -> None:
            assert self._context is not None
            try:
                await self._connection(raw, self._context)
            except (
                trio.BrokenResourceError,
                trio.TooSlowError,
                h11.ProtocolError,  # no answer that HTTP allows is left
            ) as error:
                log.debug("client connection ended", reason=str(error)[:200])

        await trio.serve_tcp(connection, port, host=host, task_status=task_status)

    async def _connection(self, raw: trio.SocketStream, context: ssl.SSLContext) -> None:
        tls = TlsSocket(raw, context)
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                await tls.handshake()
            await self._admit(tls)
        finally:
            tls.close()

    async def _admit(self, tls: TlsSocket) -> None:
        der = tls.getpeercert(binary_form=True)
        if self._is_revoked(der):
            return
        caller = next((one for one in sae_candidates(tls) if one in self._known), None)
        if self._open[caller] >= self._limit:
            log.warning("too many connections of one client", sae=caller, limit=self._limit)
            return
        client = _Client(caller, der, trio.CancelScope())
        self._open[caller] += 1
        self._clients.add(client)
        try:
            with client.scope:
                await self._requests(tls, client)
        finally:
            self._clients.discard(client)
            self._open[caller] -= 1

    async def _requests(self, tls: TlsSocket, client: _Client) -> None:
        """Serve a connection; its scope's deadline is that of what is waited for, and a client
        who misses it is hung up on."""
        talk = HttpTalk(client.caller)
        while talk.open:
            try:
                request = await _receive(talk, tls, client.scope)
                if request is None:
                    return
                response = await self._answer(request)
            except h11.RemoteProtocolError as error:
                response = _error(error.error_status_hint, "malformed HTTP request")
            await _send(talk, tls, client.scope, response)

    async def _answer(self, request: HttpRequest) -> Response:
        if request.caller is None:
            return Response(401, bytearray())
        if len(request.body) > MAX_BODY_BYTES:
            return _error(400, f"the request body exceeds {MAX_BODY_BYTES} bytes")
        return await self._handle(request)


async def _receive(
    talk: HttpTalk, tls: TlsSocket, patience: trio.CancelScope
) -> HttpRequest | None:
    """Read one request; None at the end of the connection. What it asks for has the rest of the
    time to come: nothing takes so long for which a client would wait."""
    patience.deadline = trio.current_time() + IDLE_TIMEOUT_S
    in_body = False
    while (request := talk.next_request()) is None:
        if talk.ended:
            return None
        if talk.in_body and not in_body:
            in_body = True
            patience.deadline = trio.current_time() + BODY_TIMEOUT_S
        if go_on := talk.go_on():
            await tls.send_all(go_on)
        talk.feed(await tls.receive())
    return request


async def _send(
    talk: HttpTalk, tls: TlsSocket, patience: trio.CancelScope, response: Response
) -> None:
    """Send in one piece, and wipe the body whatever happens."""
    text = bytearray()
    try:
        text = talk.answer(response)
        sent = tls.send_now(text)
        if sent < len(text):
            patience.deadline = trio.current_time() + SEND_TIMEOUT_S
            with memoryview(text) as view:
                await tls.send_all(view[sent:])
    finally:
        _wipe(text)
        _wipe(response.body)


def _wipe(body: bytearray) -> None:
    """Zero ``body`` where it lies."""
    body[:] = bytes(len(body))


def _error(status: int, message: str) -> Response:
    return Response(status, bytearray(b'{"message":"%s"}' % message.encode()))
