"""Bad days by strangers and clients: floods, silence, noise, wrong certificates, too much."""

import datetime
import json
import os
import socket
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

from benchmarks.soak.bad_day import Kind, Scene, WentWrong
from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from qkdd.net.client import HttpsClient
from qkdd.net.https import client_context
from qkdd.net.pki import Authority
from tests.whole.test_strangers import link_port

FLOODER = "sae-f"
"""An application of Alice's relay with a small quota, that does not behave."""
N_FLOODING = 16
N_HALF_OPEN = 40
ENDS_TLS = (OSError, trio.BrokenResourceError)
TOO_MUCH = (
    ("POST", f"/api/v1/keys/{SAE_B}/enc_keys", b'{"number": 1000000000}'),
    ("POST", f"/api/v1/keys/{SAE_B}/enc_keys", b'{"size": 8000000000}'),
    ("POST", f"/api/v1/keys/{SAE_B}/enc_keys", b"[" * 60_000),
    ("POST", f"/api/v1/keys/{SAE_B}/enc_keys", b"x" * 5_000_000),
    ("POST", f"/api/v1/keys/{SAE_B}/dec_keys", json.dumps({"key_IDs": ["x"] * 9_000}).encode()),
    ("GET", "/" + "x" * 200_000, b""),
)


def context(scene: Scene, sae: str) -> ssl.SSLContext:
    pki = scene.site.folder / "pki"
    return client_context(pki / f"{sae}.pem", pki / f"{sae}.key", pki / "ca.pem")


def prepare(folder: Path, now: datetime.datetime) -> None:
    """Issue what the clients of these days need: a flooder, and an authority that nobody trusts."""
    Authority.open_or_create(folder / "pki", now=now, days=30).issue_sae(FLOODER, now=now, days=30)
    foreign = Authority.open_or_create(folder / "foreign", now=now, days=30)
    foreign.issue_node(ALICE, now=now, days=30)
    foreign.issue_sae(SAE_A, now=now, days=30)


async def flood(scene: Scene) -> str:
    """Ask as fast as answers come, over many connections."""
    answers: dict[int, int] = {}
    tls = context(scene, FLOODER)
    port = scene.site.relays[ALICE].delivery_port

    async def ask_on() -> None:
        async with HttpsClient("127.0.0.1", port, tls) as client:
            while True:
                with suppress(*ENDS_TLS):
                    status, _ = await client.request(
                        "POST", f"/api/v1/keys/{SAE_B}/enc_keys", b'{"number": 128}'
                    )
                    answers[status] = answers.get(status, 0) + 1
                await trio.lowlevel.checkpoint()

    with trio.move_on_after(scene.dice.uniform(3.0, 6.0)):
        async with trio.open_nursery() as nursery:
            for _ in range(N_FLOODING):
                nursery.start_soon(ask_on)
    if 500 in answers:
        raise WentWrong(f"{answers[500]} answers with status 500")
    return f"flood of requests for keys, answers by status: {dict(sorted(answers.items()))}"


async def half_open(scene: Scene) -> str:
    """Connections that never say a word, or half a greeting."""
    ports = [scene.site.relays[ALICE].delivery_port, scene.site.relays[BOB].delivery_port]
    with ExitStack() as stack:
        for number in range(N_HALF_OPEN):
            port = [*ports, link_port(scene.site)][number % 3]
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2))
            if number % 2:
                one.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        seconds = await scene.last(3.0, 8.0)
    return f"{N_HALF_OPEN} half-open connections for {seconds:.1f} s"


async def oversized(scene: Scene) -> str:
    """Requests beyond every limit; each is refused, or hung up on."""
    seen = []
    port = scene.site.relays[ALICE].delivery_port
    for method, target, body in TOO_MUCH:
        async with HttpsClient("127.0.0.1", port, context(scene, FLOODER)) as client:
            with trio.move_on_after(10.0) as scope:
                try:
                    status, _ = await client.request(method, target, body)
                except ENDS_TLS:
                    status = 0
                seen.append(status)
            if scope.cancelled_caught:
                raise WentWrong(f"no answer within 10 s to {method} {target[:40]}")
    if not all(status == 0 or 400 <= status < 500 for status in seen):
        raise WentWrong(f"requests beyond the limits were answered {seen}")
    return f"oversized requests, answered {seen}"


async def noise(scene: Scene) -> str:
    """Bytes that are no TLS, to every port."""
    ports = [scene.site.relays[ALICE].delivery_port, scene.site.relays[BOB].delivery_port]

    async def shout(port: int) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        with suppress(trio.BrokenResourceError), trio.move_on_after(5.0):
            await stream.send_all(os.urandom(1_000))
            await stream.receive_some(1_000)
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        for port in [*ports, link_port(scene.site)] * 5:
            nursery.start_soon(shout, port)
    return "15 connections that spoke noise"


async def wrong_certificate(scene: Scene) -> str:
    """A foreign authority's, an application's at the relays' port, a relay's at the clients'."""
    ours, foreign = scene.site.folder / "pki", scene.site.folder / "foreign"
    delivery = scene.site.relays[ALICE].delivery_port
    tries = (
        (foreign, ALICE, link_port(scene.site)),
        (ours, SAE_A, link_port(scene.site)),
        (foreign, SAE_A, delivery),
        (ours, BOB, delivery),
    )
    for folder, name, port in tries:
        tls = client_context(folder / f"{name}.pem", folder / f"{name}.key", ours / "ca.pem")
        tls.check_hostname = False
        if await let_in(port, tls):
            raise WentWrong(f"{name} of {folder.name} got an answer at port {port}")
    return f"{len(tries)} wrong certificates"


async def let_in(port: int, tls: ssl.SSLContext) -> bool:
    """Say whether a key, or a word of the link, can be had with this certificate."""
    async with HttpsClient("127.0.0.1", port, tls) as client:
        with suppress(*ENDS_TLS), trio.move_on_after(5.0):
            status, _ = await client.request("GET", f"/api/v1/keys/{SAE_B}/status")
            return status == 200
    return False


KINDS = (
    Kind("client-floods", flood, keeps_light=True),
    Kind("half-open", half_open, keeps_light=True),
    Kind("oversized-requests", oversized, keeps_light=True),
    Kind("noise-at-ports", noise, keeps_light=True),
    Kind("wrong-certificate", wrong_certificate, keeps_light=True),
)
