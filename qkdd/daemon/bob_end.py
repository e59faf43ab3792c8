"""The receiver's part of a session: light in, what watches it, blocks distilled."""

import trio

from drivers.errors import InstrumentError
from qkdd.base.ids import LinkId
from qkdd.daemon.distil import BlockDesk, Ties
from qkdd.daemon.distil_bob import BobDistiller, EndedBlock, wipe_waiting
from qkdd.daemon.light_bob import BobLight
from qkdd.daemon.link_end import LinkEnd, keep_light, reporter, voider
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.quiet_worker import QuietWorker
from qkdd.daemon.run_mail import RunMail
from qkdd.daemon.silence import Silence
from qkdd.daemon.supervise import reasons, supervise
from qkdd.daemon.watchman import Watchman
from qkdd.frames.receiver import LightReceiver
from qkdd.net.peer import PeerSession
from qkdd.reconcile.frames import load_codes
from qkdd.station.detectors import DetectorFacts, DetectorKeeper
from qkdd.station.polarization import PolarizationFacts, PolarizationKeeper
from qkdd.station.receiver import open_receiver
from qkdd.station.settings import ReceiverSettings

ENDED_BLOCKS = 2
"""A block may wait while the one before is distilled; a third means that we do not keep up, and the
one that has waited longest is given up."""


async def run_bob(
    end: LinkEnd,
    session: PeerSession,
    birth: BlockDesk,
    runs: Mailbox,
    blocks: Mailbox,
    silence: Silence,
) -> None:
    assert end.config.receiver is not None
    receiver_settings = end.config.receiver
    ended_in, ended_out = trio.open_memory_channel[EndedBlock](ENDED_BLOCKS)
    link = LinkId(end.config.name)
    worker = QuietWorker()
    ties = Ties(end.settings, birth, session.send, blocks, reporter(end), voider(end), worker)
    settings = end.settings
    watchman = Watchman(
        settings.plan,
        settings.intensities,
        end.config.frames,
        receiver_settings.watch,
        end.status,
        max_qber=settings.reconcile.max_qber,
    )
    detectors = _detectors(end, receiver_settings)
    distiller = BobDistiller(ties, watchman, detectors)
    keeper = _keeper(end, receiver_settings)
    mail = RunMail(runs, session.send, silence)
    light = BobLight(
        end.settings,
        session.send,
        mail,
        ended_in,
        ended_out,
        end.status,
        entropy=end.entropy,
        first_block=await end.store.do(lambda store: store.next_block_no(link)),
        keeper=keeper,
        detectors=detectors,
    )

    async def look() -> None:
        receiver = LightReceiver(
            end.settings.plan,
            end.config.frames,
            receiver_settings.detectors,
            end.entropy,
            any_turn=keeper is not None,
        )
        try:
            async with open_receiver(receiver_settings) as tagger:
                with end.status.light.at_work():
                    await light.run(tagger, receiver)
        except* InstrumentError as errors:
            mail.hindered("; ".join(reasons(errors)))
            raise

    try:
        await worker(load_codes, settings.reconcile)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(distiller.run, ended_out)
            nursery.start_soon(mail.run)
            nursery.start_soon(keep_light, end, look)
            if keeper is not None:
                nursery.start_soon(_keep_polarization, keeper)
            if detectors is not None:
                nursery.start_soon(_watch_detectors, detectors)
    finally:
        worker.close()
        wipe_waiting(ended_out)


def _keeper(end: LinkEnd, settings: ReceiverSettings) -> PolarizationKeeper | None:
    """Make the feedback loop of the polarisation, where there is a controller."""
    if settings.polarization is None:
        return None

    def told(facts: PolarizationFacts) -> None:
        end.status.polarization = facts

    plan = end.settings.plan
    frame_s = plan.frame_pulses / plan.pulse_rate_hz
    return PolarizationKeeper(settings.polarization, frame_s=frame_s, tell=told)


async def _keep_polarization(keeper: PolarizationKeeper) -> None:
    """Hold the polarisation; without its controller the light goes on as it is."""
    await supervise("polarization", keeper.run, restart_on=(InstrumentError,), failed=keeper.failed)


def _detectors(end: LinkEnd, settings: ReceiverSettings) -> DetectorKeeper | None:
    """Make the watch over the detectors, where they have a controller."""
    if settings.detector is None:
        return None

    def told(facts: DetectorFacts) -> None:
        end.status.detectors = facts

    return DetectorKeeper(settings.detector, tuple(settings.detectors), tell=told)


async def _watch_detectors(keeper: DetectorKeeper) -> None:
    """Watch the detectors; without their controller no run begins, and the session goes on."""
    await supervise("detectors", keeper.run, restart_on=(InstrumentError,), failed=keeper.failed)
