"""Model names, as a configuration says them, to opened and recognised instruments.

Every ``open_*`` yields a driver that has answered with the identity of the model asked for.

Raises
------
ValueError
    If the model is unknown (the message names the known ones) or the resource has no known form.
NoReply
    If the way cannot be opened, or nothing answers.
BadReply
    If another instrument answers (the message names both).
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

from drivers.alongside import alongside
from drivers.attenuator import Attenuator
from drivers.attenuator.agilent_8156a import Agilent8156A
from drivers.detector import Detector, sq_websq
from drivers.detector.sq_websq import SqWebSq
from drivers.encoder import Encoder
from drivers.encoder.qmse1 import Qmse1
from drivers.entropy import EntropySource, onerng
from drivers.entropy.onerng import OneRng
from drivers.laser import Laser, koheron_ctl200
from drivers.laser.koheron_ctl200 import KoheronCtl200
from drivers.polarization import PolarizationController, ozoptics_epc
from drivers.polarization.ozoptics_epc import OzOpticsEpc
from drivers.powermeter import PowerMeter
from drivers.powermeter.thorlabs_pm100 import ThorlabsPm100
from drivers.timetagger import TimeTagger
from drivers.timetagger.id1000_settings import parse_resource
from drivers.timetagger.idq_id1000 import IdqId1000
from drivers.timetagger.s15_tdc1 import InputStandard, S15Tdc1
from drivers.transports import check_resource, open_transport

LASERS = ("koheron-ctl200",)
ATTENUATORS = ("agilent-8156a",)
ENCODERS = ("qmse-1",)
TIME_TAGGERS = ("s15-tdc1", "idq-id1000")
POLARIZATION_CONTROLLERS = ("ozoptics-epc",)
DETECTORS = ("sq-websq",)
POWER_METERS = ("thorlabs-pm100",)
ENTROPY_SOURCES = ("onerng",)


def check_way(model: str, resource: str) -> None:
    """Raise ValueError if ``resource`` is no way to a ``model``: nothing is opened."""
    if model == "idq-id1000":
        parse_resource(resource)
    elif model == "sq-websq":
        sq_websq.parse_resource(resource)
    else:
        check_resource(resource)


@asynccontextmanager
async def open_laser(model: str, resource: str) -> AsyncIterator[Laser]:
    _require_known("laser", model, LASERS)
    async with open_transport(resource, baud=koheron_ctl200.BAUD) as transport:
        laser = KoheronCtl200(transport)
        (await laser.identity()).require(model="CTL200", resource=resource)
        yield laser


@asynccontextmanager
async def open_attenuator(model: str, resource: str) -> AsyncIterator[Attenuator]:
    _require_known("attenuator", model, ATTENUATORS)
    async with open_transport(resource) as transport:
        attenuator = Agilent8156A(transport)
        (await attenuator.identity()).require(model="8156A", resource=resource)
        await attenuator.clear_errors()
        yield attenuator


@asynccontextmanager
async def open_encoder(
    model: str, resource: str, key: bytes | memoryview, entropy: Callable[[int], bytes]
) -> AsyncIterator[Encoder]:
    _require_known("encoder", model, ENCODERS)
    async with open_transport(resource) as transport:
        encoder = Qmse1(transport, key=key, entropy=entropy)
        (await encoder.identity()).require(model="QMSE-1", resource=resource)
        yield encoder


@asynccontextmanager
async def open_time_tagger(
    model: str, resource: str, *, inputs: InputStandard = "nim"
) -> AsyncIterator[TimeTagger]:
    """Open a tagger whose inputs expect ``nim`` or ``ttl`` pulses."""
    _require_known("time tagger", model, TIME_TAGGERS)
    if model == "idq-id1000":
        async with _open_id1000(resource, inputs) as id1000:
            yield id1000
        return
    async with open_transport(resource) as transport:
        tagger = S15Tdc1(transport, inputs=inputs)
        await tagger.settle()
        (await tagger.identity()).require(model="TDC1", resource=resource)
        yield tagger


@asynccontextmanager
async def _open_id1000(resource: str, inputs: InputStandard) -> AsyncIterator[IdqId1000]:
    settings = parse_resource(resource, inputs=inputs)
    # Imported late: most relays have no instrument that speaks ZeroMQ.
    from drivers.transports.zeromq import ZmqLink

    with ZmqLink() as link:
        scpi = await link.asker(settings.host, settings.port)
        dlt = await link.asker(settings.dlt_host, settings.dlt_port)
        tagger = IdqId1000(scpi, dlt, partial(link.stream, settings.dlt_host), settings)
        await tagger.identity()
        await tagger.settle()
        yield tagger


@asynccontextmanager
async def open_polarization_controller(
    model: str, resource: str
) -> AsyncIterator[PolarizationController]:
    """Open a controller; its voltages and its mode stay as they are."""
    _require_known("polarization controller", model, POLARIZATION_CONTROLLERS)
    async with open_transport(resource, baud=ozoptics_epc.BAUD) as transport:
        controller = OzOpticsEpc(transport)
        (await controller.identity()).require(model="EPC", resource=resource)
        yield controller


@asynccontextmanager
async def open_detector(model: str, resource: str) -> AsyncIterator[Detector]:
    """Open the detectors' controller, and listen to it; all settings stay as they are."""
    _require_known("detector", model, DETECTORS)
    control, counts = sq_websq.parse_resource(resource)
    async with open_transport(control) as one, open_transport(counts) as other:
        detector = SqWebSq(one, other)
        async with alongside(detector.listen):
            (await detector.identity()).require(model="WebSQ", resource=resource)
            yield detector


@asynccontextmanager
async def open_power_meter(model: str, resource: str) -> AsyncIterator[PowerMeter]:
    """Open a meter, set to measure optical power in watts; all else stays as it is."""
    _require_known("power meter", model, POWER_METERS)
    async with open_transport(resource) as transport:
        meter = ThorlabsPm100(transport)
        (await meter.identity()).require(model="PM", resource=resource)
        await meter.settle()
        yield meter


@asynccontextmanager
async def open_entropy_source(model: str, resource: str) -> AsyncIterator[EntropySource]:
    """Open a source of noise, silent until it is started."""
    _require_known("entropy source", model, ENTROPY_SOURCES)
    async with open_transport(resource, baud=onerng.BAUD) as transport:
        source = OneRng(transport)
        (await source.identity()).require(model=onerng.MODEL, resource=resource)
        yield source


def _require_known(kind: str, model: str, known: Iterable[str]) -> None:
    if model not in known:
        raise ValueError(f"unknown {kind} model {model!r}; known are: {', '.join(known)}")
