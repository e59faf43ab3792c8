"""TLS on the socket itself: whole answers through full buffers, and every way of ending."""

import datetime
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from qkdd.net.https import client_context, server_context
from qkdd.net.pki import Authority
from qkdd.net.tls_socket import TlsSocket

NOW = datetime.datetime.now(datetime.UTC)


@asynccontextmanager
async def pair(
    folder: Path,
) -> AsyncIterator[tuple[TlsSocket, "trio.SSLStream[trio.SocketStream]"]]:
    """Both ends of a connection with small buffers, hands shaken."""
    authority = Authority.open_or_create(folder, now=NOW, days=1)
    node, sae = (
        authority.issue_node("a", now=NOW, days=1),
        authority.issue_sae("x", now=NOW, days=1),
    )
    ends = trio.socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    here, there = map(trio.SocketStream, ends)
    server = TlsSocket(here, server_context(node.certificate, node.key, authority.certificate))
    context = client_context(sae.certificate, sae.key, authority.certificate)
    context.check_hostname = False
    client = trio.SSLStream(there, context, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        await server.handshake()
    try:
        yield server, client
    finally:
        server.close()
        await trio.aclose_forcefully(client)


async def test_what_the_buffers_do_not_hold_is_sent_when_they_have_room(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        text = bytes(range(256)) * 4096
        sent = server.send_now(text)
        assert 0 <= sent < len(text)
        while more := server.send_now(text[sent:]):
            sent += more
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, text[sent:])
            while len(received) < len(text):
                received += await client.receive_some()
        assert received == text


async def test_bytes_that_openssl_holds_back_are_not_waited_for(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        text = b"x" * 16 * 1024 + b"y"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, text)
            received = b""
            while len(received) < len(text):
                received += await server.receive()
        assert received == text


async def test_a_client_that_closes_or_vanishes_is_the_end(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        await trio.aclose_forcefully(client)
        assert await server.receive() == b""
        with pytest.raises(trio.BrokenResourceError):
            server.send_now(b"x")


async def test_bytes_that_are_no_tls_break_the_connection(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        await client.transport_stream.send_all(b"\x00" * 64)
        with pytest.raises(trio.BrokenResourceError):
            await server.receive()


async def test_a_receive_that_was_cancelled_can_be_done_again(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.receive()
        await client.send_all(b"hello")
        assert await server.receive() == b"hello"
