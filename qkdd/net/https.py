"""HTTPS with mutual TLS: one small server over h11, its clients known by their certificates.

The handler is ``async def handle(request) -> Response``. A response's body is a bytearray that is
sent without a copy and wiped, since it may hold key.
"""

import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import h11
import structlog
import trio

from qkdd.base.errors import PeerError
from qkdd.net.identity import sae_candidates
from qkdd.net.revocation import NONE, Revoked

log = structlog.get_logger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 90.0
BODY_TIMEOUT_S = 15.0
SEND_TIMEOUT_S = 15.0
MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
RECEIVE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    target: str
    body: bytes
    caller: str | None
    """The SAE that the certificate names, if the registry knows it."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytearray
    allow: str = ""
    retry_after_s: int | None = None


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
            stream = trio.SSLStream(raw, self._context, server_side=True, https_compatible=True)
            try:
                await self._connection(stream)
            except (
                trio.BrokenResourceError,
                trio.ClosedResourceError,
                trio.TooSlowError,
                h11.ProtocolError,  # no answer that HTTP allows is left
            ) as error:
                log.debug("client connection ended", reason=str(error)[:200])
            finally:
                with trio.move_on_after(1.0, shield=True):
                    await trio.aclose_forcefully(stream)

        await trio.serve_tcp(connection, port, host=host, task_status=task_status)

    async def _connection(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        with trio.fail_after(HANDSHAKE_TIMEOUT_S):
            await stream.do_handshake()
        der = stream.getpeercert(binary_form=True)
        if self._is_revoked(der):
            return
        caller = next((one for one in sae_candidates(stream) if one in self._known), None)
        if self._open[caller] >= self._limit:
            log.warning("too many connections of one client", sae=caller, limit=self._limit)
            return
        client = _Client(caller, der, trio.CancelScope())
        self._open[caller] += 1
        self._clients.add(client)
        try:
            with client.scope:
                await self._requests(stream, caller)
        finally:
            self._clients.discard(client)
            self._open[caller] -= 1

    async def _requests(
        self, stream: "trio.SSLStream[trio.SocketStream]", caller: str | None
    ) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        while http.our_state is not h11.MUST_CLOSE:
            try:
                request = await _receive(http, stream, caller)
                if request is None:
                    return
                response = await self._answer(request)
                if request.method == "HEAD":  # is answered without a body, whatever the status
                    response = replace(response, body=_wiped(response.body))
            except h11.RemoteProtocolError as error:
                response = _error(error.error_status_hint, "malformed HTTP request")
            await _send(http, stream, response)
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _answer(self, request: HttpRequest) -> Response:
        if request.caller is None:
            return Response(401, bytearray())
        if len(request.body) > MAX_BODY_BYTES:
            return _error(400, f"the request body exceeds {MAX_BODY_BYTES} bytes")
        return await self._handle(request)


async def _receive(
    http: h11.Connection, stream: "trio.SSLStream[trio.SocketStream]", caller: str | None
) -> HttpRequest | None:
    """Read one request; None at the end of the connection. Too long a body is cut, not kept."""
    with trio.fail_after(IDLE_TIMEOUT_S) as patience:
        head = await _next_event(http, stream)
        if isinstance(head, h11.ConnectionClosed):
            return None
        assert isinstance(head, h11.Request)
        body = bytearray()
        patience.deadline = trio.current_time() + BODY_TIMEOUT_S
        while isinstance(event := await _next_event(http, stream), h11.Data):
            if len(body) <= MAX_BODY_BYTES:
                body += event.data
    return HttpRequest(head.method.decode(), head.target.decode("latin-1"), bytes(body), caller)


async def _next_event(
    http: h11.Connection, stream: "trio.SSLStream[trio.SocketStream]"
) -> h11.Event:
    while (event := http.next_event()) is h11.NEED_DATA:
        if http.they_are_waiting_for_100_continue:
            go_on = http.send(h11.InformationalResponse(status_code=100, headers=[]))
            await stream.send_all(go_on or b"")
        http.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
    assert isinstance(event, h11.Event)
    return event


async def _send(
    http: h11.Connection, stream: "trio.SSLStream[trio.SocketStream]", response: Response
) -> None:
    """Send in one piece, and wipe the body whatever happens."""
    text = bytearray()
    try:
        headers = [
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
        ]
        if response.body:
            headers.append(("Content-Type", "application/json"))
        if response.allow:
            headers.append(("Allow", response.allow))
        if response.retry_after_s is not None:
            headers.append(("Retry-After", str(response.retry_after_s)))
        reason = HTTPStatus(response.status).phrase.encode()
        head = h11.Response(status_code=response.status, headers=headers, reason=reason)
        text = bytearray(http.send(head) or b"")
        text.extend(response.body)  # its length is declared: HTTP adds nothing to it
        http.send_with_data_passthrough(h11.Data(data=response.body))  # type: ignore[arg-type]
        http.send(h11.EndOfMessage())
        with trio.fail_after(SEND_TIMEOUT_S):
            await stream.send_all(text)
    finally:
        _wiped(text)
        _wiped(response.body)


def _wiped(body: bytearray) -> bytearray:
    """Zero ``body`` where it lies, and return an empty one."""
    body[:] = bytes(len(body))
    return bytearray()


def _error(status: int, message: str) -> Response:
    return Response(status, bytearray(b'{"message":"%s"}' % message.encode()))
