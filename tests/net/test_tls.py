"""TLS between neighbours, over the loopback interface, with certificates made here."""

import datetime
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509

from qkdd.base.errors import LinkLost, PeerError
from qkdd.base.ids import NodeId
from qkdd.net.pki import NODE_URN, Authority, Issued
from qkdd.net.tls import accept_tls, accepting_context, dial_tls, dialling_context

A = NodeId("a")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Site:
    """An authority and the certificates of its nodes."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.open_or_create(folder, now=now(), days=2)

    def node(self, name: str) -> Issued:
        return self.authority.issue_node(name, now=now(), days=1)

    def named(self, *uris: str) -> Issued:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        return self.authority._issue("odd", [*names, x509.DNSName("a")], now=now(), days=1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("elsewhere"))


Handle = Callable[[trio.abc.Stream], Awaitable[None]]


async def over_loopback(accept: Handle, dial: Handle) -> None:
    """Run both handlers at the two ends of one TCP connection; their errors are raised bare."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    errors: list[Exception] = []

    async def run(handle: Handle, stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                await handle(stream)
            except (PeerError, LinkLost) as error:
                errors.append(error)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, listeners[0]:
            nursery.start_soon(run, dial, await trio.open_tcp_stream("127.0.0.1", port))
            nursery.start_soon(run, accept, await listeners[0].accept())
    if errors:
        raise errors[0]


async def accept_node(
    site: Site, mine: Issued, stream: trio.abc.Stream, *, seen: list[str]
) -> None:
    context = accepting_context(mine.certificate, mine.key, site.authority.certificate)
    tls, node = await accept_tls(stream, context)
    seen.append(node)
    await tls.send_all(b"hello " + node.encode())
    await tls.aclose()


async def dial_node(
    site: Site, mine: Issued, expected: NodeId, stream: trio.abc.Stream, *, seen: list[str]
) -> None:
    context = dialling_context(mine.certificate, mine.key, site.authority.certificate)
    tls = await dial_tls(stream, context, expected=expected)
    seen.append(tls.version())
    try:
        seen.append((await tls.receive_some()).decode())
    except trio.BrokenResourceError as error:
        raise LinkLost(str(error.__cause__)) from error


async def test_both_ends_know_each_other_by_their_certificates(site: Site) -> None:
    at_a: list[str] = []
    at_b: list[str] = []
    await over_loopback(
        partial(accept_node, site, site.node("a"), seen=at_a),
        partial(dial_node, site, site.node("b"), A, seen=at_b),
    )
    assert at_a == ["b"]
    assert at_b == ["TLSv1.3", "hello b"]


async def test_another_node_of_the_same_network_is_refused_by_the_dialler(site: Site) -> None:
    async def accept(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):  # the dialler may have hung up already
            await accept_node(site, site.node("c"), stream, seen=[])

    with pytest.raises(PeerError, match="node 'c', dialled 'a'"):
        await over_loopback(accept, partial(dial_node, site, site.node("b"), A, seen=[]))


async def test_a_node_of_another_authority_is_refused_by_the_listener(
    site: Site, elsewhere: Site
) -> None:
    seen: list[str] = []
    foreign = elsewhere.node("b")

    async def dial(stream: trio.abc.Stream) -> None:
        with pytest.raises(LinkLost):  # TLS 1.3: the dialler learns it with its first read
            await dial_node(site, foreign, A, stream, seen=[])

    with pytest.raises(PeerError, match="certificate refused"):
        await over_loopback(partial(accept_node, site, site.node("a"), seen=seen), dial)
    assert seen == []


async def test_a_listener_of_another_authority_is_refused_by_the_dialler(
    site: Site, elsewhere: Site
) -> None:
    async def accept(stream: trio.abc.Stream) -> None:
        with pytest.raises(LinkLost):
            await accept_node(site, elsewhere.node("a"), stream, seen=[])

    with pytest.raises(PeerError, match="certificate refused"):
        await over_loopback(accept, partial(dial_node, site, site.node("b"), A, seen=[]))


@pytest.mark.parametrize(
    "uris",
    [(), ("urn:qkdd:sae:b",), (NODE_URN,), (NODE_URN + "b", NODE_URN + "c")],
    ids=["no URI", "an application", "empty name", "two nodes"],
)
async def test_a_certificate_must_name_exactly_one_node(site: Site, uris: tuple[str, ...]) -> None:
    odd = site.named(*uris)

    async def dial(stream: trio.abc.Stream) -> None:
        with pytest.raises(LinkLost):
            await dial_node(site, odd, A, stream, seen=[])

    with pytest.raises(PeerError, match="nodes, must be one"):
        await over_loopback(partial(accept_node, site, site.node("a"), seen=[]), dial)


async def test_a_client_without_a_certificate_is_refused(site: Site) -> None:
    context = ssl.create_default_context(cafile=site.authority.certificate)
    context.check_hostname = False
    got: list[str] = []

    async def dial(stream: trio.abc.Stream) -> None:
        tls = trio.SSLStream(stream, context)
        with pytest.raises(trio.BrokenResourceError):
            got.append((await tls.receive_some()).decode())

    with pytest.raises(LinkLost, match="handshake failed"):
        await over_loopback(partial(accept_node, site, site.node("a"), seen=got), dial)
    assert got == []


async def test_no_session_can_be_resumed_past_a_revoked_certificate(site: Site) -> None:
    mine = site.node("b")
    context = dialling_context(mine.certificate, mine.key, site.authority.certificate)
    tickets: list[bool] = []

    async def dial(stream: trio.abc.Stream) -> None:
        tls = await dial_tls(stream, context, expected=A)
        await tls.receive_some()  # a ticket would come with the first bytes
        tickets.append(tls.session.has_ticket)

    await over_loopback(partial(accept_node, site, site.node("a"), seen=[]), dial)
    assert tickets == [False]


async def test_tls_1_2_is_refused(site: Site) -> None:
    mine = site.node("b")
    context = dialling_context(mine.certificate, mine.key, site.authority.certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def dial(stream: trio.abc.Stream) -> None:
        with pytest.raises(LinkLost, match="handshake failed"):
            await dial_tls(stream, context, expected=A)

    with pytest.raises(LinkLost, match="handshake failed"):
        await over_loopback(partial(accept_node, site, site.node("a"), seen=[]), dial)


async def test_bytes_that_are_no_tls_lose_the_link(site: Site) -> None:
    async def dial(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")

    with pytest.raises(LinkLost, match="handshake failed"):
        await over_loopback(partial(accept_node, site, site.node("a"), seen=[]), dial)
