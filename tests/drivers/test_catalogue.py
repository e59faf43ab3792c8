"""The catalogue refuses what it does not know, and recognises what it opens."""

from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from drivers import catalogue
from drivers.errors import BadReply

KEY = bytes(32)

OPENERS = {
    "laser": catalogue.open_laser,
    "attenuator": catalogue.open_attenuator,
    "time tagger": catalogue.open_time_tagger,
    "detector": catalogue.open_detector,
    "power meter": catalogue.open_power_meter,
    "polarization controller": catalogue.open_polarization_controller,
    "encoder": partial(catalogue.open_encoder, key=KEY, entropy=lambda n: bytes(n)),
}


@asynccontextmanager
async def another_device(reply: bytes = b"Thorlabs,PM100D,P0000001,2.4.0", *, chatty: bool = True):
    """A power meter that answers every line with its name, and says >> in passing."""

    async def answer(stream: trio.SocketStream) -> None:
        async for data in stream:
            echoed = data.strip()
            for line in data.splitlines():
                asks = b"?" in line or b"request" in line
                if line.strip() and (chatty or asks):
                    text = reply + b"\r\n" if asks else echoed + b"\r\n" + reply + b"\r\n>>"
                    await stream.send_all(text)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", OPENERS)
async def test_an_unknown_model_is_refused_before_anything_is_opened(kind):
    with pytest.raises(ValueError, match=f"unknown {kind} model 'acme'; known are: ."):
        async with OPENERS[kind]("acme", "tcp://192.0.2.1:1"):
            pass


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [
        ("laser", "koheron-ctl200", "CTL200"),
        ("attenuator", "agilent-8156a", "8156A"),
        ("polarization controller", "ozoptics-epc", "EPC"),
    ],
)
async def test_another_device_is_named_together_with_the_one_expected(kind, model, expected):
    async with another_device() as resource:
        with pytest.raises(BadReply, match=f"expected an? {expected}, but .*PM100D.* answers"):
            async with OPENERS[kind](model, resource):
                pass


async def test_a_device_that_is_no_encoder_is_a_bad_reply():
    async with another_device() as resource:
        with pytest.raises(BadReply, match="QMSE-1"):
            async with OPENERS["encoder"]("qmse-1", resource):
                pass


async def test_an_attenuator_is_no_power_meter():
    async with another_device(b"HEWLETT-PACKARD,HP8156A,1234G00056,1.02", chatty=False) as resource:
        with pytest.raises(BadReply, match=r"expected a Thorlabs PM100, but '.*HP8156A.*' answers"):
            async with catalogue.open_power_meter("thorlabs-pm100", resource):
                pass


async def test_a_device_that_is_no_websq_is_named_and_no_group_of_errors_comes_out():
    async with another_device() as resource:
        both = f"{resource}?counts={resource.rpartition(':')[2]}"
        with pytest.raises(BadReply, match=r"expected a WebSQ, but .*PM100D.* answers"):
            async with catalogue.open_detector("sq-websq", both):
                pass
