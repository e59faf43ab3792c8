"""Strangers at a relay's two ports: they get nothing, and keep nobody out."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A
from tests.whole.applications import Applications
from tests.whole.site import POLL_S, START_TIMEOUT_S, Site, open_site
from tests.whole.stock import lay_stock

N_STRANGERS = 5
SESSION_S = 8.0
"""Less than one stranger's time for a handshake."""


def link_port(site: Site) -> int:
    """Bob's port for his neighbour: the second that he listens at."""
    return int(
        re.findall(r'^listen = "127\.0\.0\.1:(\d+)"$', site.config(BOB).read_text(), re.M)[1]
    )


async def listens(port: int) -> None:
    """Wait until somebody listens there."""
    with trio.fail_after(START_TIMEOUT_S):
        while True:
            try:
                await trio.aclose_forcefully(await trio.open_tcp_stream("127.0.0.1", port))
            except OSError:
                await trio.sleep(POLL_S)
            else:
                return


@contextmanager
def silent_strangers(port: int) -> Iterator[None]:
    """Connections that never say a word, as of a port scanner or a health check."""
    strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(N_STRANGERS)]
    try:
        yield
    finally:
        for one in strangers:
            one.close()


def shout(port: int) -> None:
    """Say what is no TLS, and hang up."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one, suppress(OSError):
        one.sendall(os.urandom(1_000))
        one.recv(1_000)


async def test_silent_strangers_at_the_link_port_do_not_keep_the_neighbour_out(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site:
        lay_stock(site, 256 * 1024)
        await site.start(BOB)
        await listens(link_port(site))
        with silent_strangers(link_port(site)):
            await site.start(ALICE)
            await site.wait_up(SESSION_S)


async def test_noise_at_either_port_neither_ends_a_session_nor_delays_the_next(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 256 * 1024)
        await site.start(BOB)
        await listens(link_port(site))
        for _ in range(N_STRANGERS):
            shout(link_port(site))
        await site.start(ALICE)
        await site.wait_up(SESSION_S)
        for relay in (ALICE, BOB):
            shout(site.relays[relay].delivery_port)
        port = site.relays[ALICE].delivery_port
        with silent_strangers(port), silent_strangers(link_port(site)):
            await apps.refresh(SAE_A, 4)
            await site.kill(ALICE)
            await site.start(ALICE)
            await site.wait_up(SESSION_S)
        await apps.hang_up()
        await apps.refresh(SAE_A, 4)
        apps.check()
