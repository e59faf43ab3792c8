"""One session with a neighbour: from two agreeing hellos to light, key and their end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from drivers.errors import InstrumentError
from qkdd.amplify.messages import AmplifySeed
from qkdd.base.agreement import Agreed, check_agreement
from qkdd.base.entropy import Entropy
from qkdd.base.errors import LinkLost
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.config import Link
from qkdd.daemon.birth import BlockBirth
from qkdd.daemon.distil import BlockDesk, DistilSettings, Ties
from qkdd.daemon.distil_alice import AliceDistiller, SentBlocks
from qkdd.daemon.distil_bob import BobDistiller, EndedBlock, wipe_waiting
from qkdd.daemon.epsilon import CountedBlocks, EpsilonLimit
from qkdd.daemon.hop_desk import HOP_MESSAGES
from qkdd.daemon.key_desk import KEY_MESSAGES, KeyDesk
from qkdd.daemon.key_rooms import KeyRooms
from qkdd.daemon.lane_post import LanePost
from qkdd.daemon.lanes import Lanes
from qkdd.daemon.light_alice import AliceLight
from qkdd.daemon.light_bob import BobLight
from qkdd.daemon.mailbox import Mailbox, Sorter
from qkdd.daemon.quiet_worker import QuietWorker
from qkdd.daemon.snapshot import BlockFacts
from qkdd.daemon.status import LinkStatus
from qkdd.daemon.store_service import StoreService
from qkdd.daemon.supervise import supervise
from qkdd.daemon.turnover import Turnover, light_until
from qkdd.daemon.watchman import Watchman
from qkdd.frames.receiver import LightReceiver
from qkdd.keys.epsilon_book import EpsilonYear
from qkdd.keys.messages import StoreState
from qkdd.net.peer import PeerSession
from qkdd.reconcile import messages as reconcile_messages
from qkdd.sift import messages as sift_messages
from qkdd.station import messages as run_messages
from qkdd.station.detectors import DetectorFacts, DetectorKeeper
from qkdd.station.polarization import PolarizationFacts, PolarizationKeeper
from qkdd.station.receiver import open_receiver
from qkdd.station.settings import ReceiverSettings
from qkdd.station.tap import TapRecord
from qkdd.station.transmitter import open_transmitter

log = structlog.get_logger(__name__)

AGREE_TIMEOUT_S = 15.0
ENDED_BLOCKS = 2
"""A block may wait while the one before is distilled; a third means that we do not keep up, and the
one that has waited longest is given up."""

LAST_BLOCK_S = 30.0
"""For the key of the last block before new settings; a block that takes longer is given up."""

AUTH_TARGET_BYTES = 1024 * 1024
"""Authentication key that blocks top up, each direction: nine hours of one key a second without
light, each asked for alone (docs/decisions/0009)."""

BLOCK_MESSAGES = (
    run_messages.BlockVoid,
    sift_messages.Clicks,
    sift_messages.Kept,
    sift_messages.TestErrors,
    reconcile_messages.Syndromes,
    reconcile_messages.Verdicts,
    reconcile_messages.Revealed,
    reconcile_messages.Parities,
    reconcile_messages.Differences,
    reconcile_messages.Checks,
    reconcile_messages.BlockHash,
    reconcile_messages.BlockVerdict,
    AmplifySeed,
)
RUN_MESSAGES = (
    run_messages.RunAnnounced,
    run_messages.RunReady,
    run_messages.RunLost,
    run_messages.RunStopped,
    run_messages.LightLocked,
    run_messages.LightMeasured,
)


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """What a session needs of its relay."""

    config: Link
    settings: DistilSettings
    ours: Agreed
    store: StoreService
    rooms: KeyRooms
    lanes: Lanes
    status: LinkStatus
    entropy: Entropy
    board_key: Secret | None
    turnover: Turnover


async def run_session(end: LinkEnd, session: PeerSession, state: StoreState) -> None:
    """Run one session until it breaks.

    Error handling: LinkLost, PeerError, SecurityAlarm, OutOfKey as raised by the peer session, in
    an exception group. Trouble with an instrument is retried inside.
    """
    handshake, runs = Mailbox(Agreed), Mailbox(*RUN_MESSAGES)
    blocks, keys = Mailbox(*BLOCK_MESSAGES), Mailbox(*KEY_MESSAGES)
    hops = Mailbox(*HOP_MESSAGES)
    link = LinkId(end.config.name)
    desk = KeyDesk(link, end.store, session.send, keys)
    post = LanePost(link, session.send)
    sorter = Sorter([handshake, runs, blocks, keys, hops, post])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run_writer)
        nursery.start_soon(_receive, session, sorter)
        with trio.fail_after(AGREE_TIMEOUT_S):
            await _agree(end, session, handshake)
            nursery.start_soon(desk.run, state)
            await desk.agreed()
        end.turnover.begin_session()
        nursery.start_soon(end.turnover.tell, session.send)
        nursery.start_soon(end.turnover.hear, handshake)
        end.status.enter("session")
        log.info("stores agree", link=end.config.name, peer=end.config.peer)
        end.rooms.office.open_desk(link, desk)
        nursery.start_soon(end.rooms.hops.run, NodeId(end.config.peer), session.send, hops)
        try:
            nursery.start_soon(post.run)
            await end.lanes.attach(link, post)
            make = _alice if end.config.role == "transmitter" else _bob
            limit = epsilon_limit(end)
            await limit.look()
            birth = CountedBlocks(limit, BlockBirth(end.config, desk, end.lanes))
            await make(end, session, birth, runs, blocks)
        finally:
            end.lanes.detach(link, post)
            end.rooms.office.close_desk(link)


async def _agree(end: LinkEnd, session: PeerSession, handshake: Mailbox) -> None:
    await session.send(end.ours)
    theirs = await handshake.get(Agreed)
    if end.turnover.is_behind(theirs):
        raise LinkLost("the neighbour has gone over to the new settings, and so do we")
    check_agreement(end.ours, theirs)


async def _receive(session: PeerSession, sorter: Sorter) -> None:
    async for message in session:
        await sorter.put(message)


async def _alice(
    end: LinkEnd, session: PeerSession, birth: BlockDesk, runs: Mailbox, blocks: Mailbox
) -> None:
    assert end.config.transmitter is not None
    assert end.board_key is not None
    transmitter_settings, board_key = end.config.transmitter, end.board_key
    sent = SentBlocks()
    link = LinkId(end.config.name)

    async def auth_wanted() -> int:
        left = await end.store.do(lambda store: store.auth_left(link))
        return max(0, AUTH_TARGET_BYTES - min(left.tx, left.rx))

    worker = QuietWorker()
    ties = Ties(end.settings, birth, session.send, blocks, _reporter(end), _voider(end), worker)
    distiller = AliceDistiller(ties, entropy=end.entropy, auth_wanted=auth_wanted)
    light = AliceLight(
        end.settings,
        session.send,
        runs,
        sent,
        end.status,
        entropy=end.entropy,
        first_block=await end.store.do(lambda store: store.next_block_no(link)),
        tap=_tap_record(end.config),
        until=end.turnover.over,
    )

    async def shine() -> None:
        async with open_transmitter(
            transmitter_settings, board_key=board_key.reveal(), entropy=end.entropy
        ) as transmitter:
            with end.status.light.at_work():
                await light.run(transmitter)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(distiller.run, sent)
            await light_until(
                end.turnover.over, end.status, end.settings.plan, partial(_light, end, shine)
            )
            with trio.move_on_after(LAST_BLOCK_S):
                await distiller.finished(sent.newest)
            raise LinkLost("both ends go over to the new settings")
    finally:
        worker.close()
        sent.wipe()


def _tap_record(config: Link) -> TapRecord | None:
    tap = config.transmitter.tap if config.transmitter is not None else None
    return None if tap is None else TapRecord(tap, config.proof.mu_uncertainty)


async def _bob(
    end: LinkEnd, session: PeerSession, birth: BlockDesk, runs: Mailbox, blocks: Mailbox
) -> None:
    assert end.config.receiver is not None
    receiver_settings = end.config.receiver
    ended_in, ended_out = trio.open_memory_channel[EndedBlock](ENDED_BLOCKS)
    link = LinkId(end.config.name)
    worker = QuietWorker()
    ties = Ties(end.settings, birth, session.send, blocks, _reporter(end), _voider(end), worker)
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
    light = BobLight(
        end.settings,
        session.send,
        runs,
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
        async with open_receiver(receiver_settings) as tagger:
            with end.status.light.at_work():
                await light.run(tagger, receiver)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(distiller.run, ended_out)
            nursery.start_soon(_light, end, look)
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


async def _light(end: LinkEnd, service: Callable[[], Awaitable[None]]) -> None:
    """Run one end's light; an instrument that fails is opened afresh, the session goes on."""

    def failed(reason: str) -> None:
        end.status.enter("dark", reason)

    await supervise("light", service, restart_on=(InstrumentError,), failed=failed)


def epsilon_limit(end: LinkEnd) -> EpsilonLimit:
    """What the link of ``end`` may still spend this year."""

    def told(spent: EpsilonYear) -> None:
        end.status.epsilon_year = spent

    return EpsilonLimit(
        LinkId(end.config.name),
        end.config.proof,
        end.config.max_epsilon_per_year,
        end.store,
        told,
    )


def _reporter(end: LinkEnd) -> Callable[[BlockFacts], None]:
    def report(facts: BlockFacts) -> None:
        end.status.distilled(facts, trio.current_time())
        log.info(
            "block distilled" if facts.n_secret_bits else "block without key",
            block_no=facts.block_no,
            n_sifted_bits=facts.n_sifted_bits,
            n_secret_bits=facts.n_secret_bits,
            qber=facts.qber_key,
            f_both_ways=facts.f_both_ways,
            reason=facts.reason,
        )

    return report


def _voider(end: LinkEnd) -> Callable[[int, str], None]:
    def void(block_no: int, reason: str) -> None:
        end.status.gave_up(reason)
        log.warning("block void", block_no=block_no, reason=reason)

    return void
