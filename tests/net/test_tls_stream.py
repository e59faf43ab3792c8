"""TLS over any stream: everything that has come at once, and every way of ending."""

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from qkdd.base.errors import LinkLost, RecordSpoilt
from qkdd.net.pki import Authority
from qkdd.net.tls import accepting_context, dialling_context
from qkdd.net.tls_stream import RECEIVE_BYTES, RECORD_BYTES, TlsStream, is_spoilt
from qkdd.net.wire import FrameWire

NOW = datetime.datetime.now(datetime.UTC)


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """Both ends of a connection in memory, hands shaken."""
    authority = Authority.open_or_create(folder, now=NOW, days=1)
    a, b = (authority.issue_node(name, now=NOW, days=1) for name in "ab")
    here, there = memory_stream_pair()
    accepting = accepting_context(a.certificate, a.key, authority.certificate)
    dialling = dialling_context(b.certificate, b.key, authority.certificate)
    server = TlsStream(here, accepting, server_side=True)
    client = TlsStream(there, dialling, server_side=False)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await server.do_handshake()
        yield server, client
        await trio.aclose_forcefully(server)
        await trio.aclose_forcefully(client)


async def test_records_that_have_come_together_are_given_together(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        text = bytes(range(256)) * (3 * RECORD_BYTES // 256)
        await server.send_all(text)
        assert await client.receive_some() == text


async def test_megabytes_go_both_ways_at_once(tmp_path: Path) -> None:
    text = bytes(range(256)) * 4096 * 3
    async with pair(tmp_path) as ends:

        async def read(end: TlsStream, got: bytearray) -> None:
            while len(got) < len(text):
                piece = await end.receive_some()
                assert 0 < len(piece) <= RECEIVE_BYTES
                got += piece

        got = bytearray(), bytearray()
        async with trio.open_nursery() as nursery:
            for end, one in zip(ends, got, strict=True):
                nursery.start_soon(read, end, one)
                nursery.start_soon(end.send_all, text)
        assert got == (text, text)


async def test_no_more_is_given_than_was_asked_for(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        await server.send_all(b"abcdef")
        assert [await client.receive_some(4), await client.receive_some(4)] == [b"abcd", b"ef"]


async def test_a_cancelled_read_loses_nothing(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive_some)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await server.send_all(b"still there")
        assert await client.receive_some() == b"still there"


async def test_a_goodbye_is_the_end_and_comes_after_all_that_was_said(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        await server.send_all(b"last words")
        await server.aclose()
        assert await client.receive_some() == b"last words"
        assert await client.receive_some() == b""


async def test_a_connection_that_is_cut_is_no_proper_end(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        await server.send_all(b"last words")
        await server.transport_stream.aclose()
        assert await client.receive_some() == b"last words"
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()
        assert not is_spoilt(caught.value.__cause__)


HEADER_BYTES, WORD = 5, b"word"
RECORD_OF_A_WORD = HEADER_BYTES + len(WORD) + 1 + 16
"""A header, and inside it the word, its type and a tag."""


@pytest.mark.parametrize("at", range(RECORD_OF_A_WORD))
async def test_a_flipped_bit_anywhere_in_a_record_ends_the_session_under_its_name(
    tmp_path: Path, at: int
) -> None:
    async with pair(tmp_path) as (server, client):
        server._tls.write(WORD)
        record = bytearray(server._outgoing.read())
        assert len(record) == RECORD_OF_A_WORD
        record[at] ^= 1 << at % 8
        await server.transport_stream.send_all(record)
        await server.send_all(bytes(2 * RECORD_BYTES))  # for a record that has become longer
        with pytest.raises(RecordSpoilt, match="a record was changed on the way"):
            await FrameWire(client).receive()


async def test_a_cut_is_not_said_to_be_a_change(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        server._tls.write(WORD)
        await server.transport_stream.send_all(server._outgoing.read()[:-1])
        await server.transport_stream.aclose()
        with pytest.raises(LinkLost) as caught:
            await FrameWire(client).receive()
        assert not isinstance(caught.value, RecordSpoilt)


async def test_a_record_that_was_touched_breaks_the_connection(tmp_path: Path) -> None:
    async with pair(tmp_path) as (server, client):
        await server.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()
        assert is_spoilt(caught.value.__cause__)
