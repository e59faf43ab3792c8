"""One session with a neighbour: from two agreeing hellos to light, key and their end."""

import structlog
import trio

from qkdd.amplify.messages import AmplifySeed
from qkdd.base.agreement import Agreed, check_agreement
from qkdd.base.errors import LinkLost
from qkdd.base.ids import LinkId, NodeId
from qkdd.daemon.alice_end import run_alice
from qkdd.daemon.birth import BlockBirth
from qkdd.daemon.bob_end import run_bob
from qkdd.daemon.epsilon import CountedBlocks
from qkdd.daemon.hop_desk import HOP_MESSAGES
from qkdd.daemon.key_desk import KEY_MESSAGES, KeyDesk
from qkdd.daemon.lane_post import LanePost
from qkdd.daemon.link_end import LinkEnd, epsilon_limit
from qkdd.daemon.mailbox import Mailbox, Sorter
from qkdd.daemon.silence import Silence, within
from qkdd.keys.messages import StoreState
from qkdd.net.peer import PeerSession
from qkdd.reconcile import messages as reconcile_messages
from qkdd.sift import messages as sift_messages
from qkdd.station import messages as run_messages

log = structlog.get_logger(__name__)

AGREE_TIMEOUT_S = 15.0
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
    run_messages.RunWaits,
    run_messages.RunLost,
    run_messages.RunStopped,
    run_messages.LightLocked,
    run_messages.LightMeasured,
)


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
    silence = Silence(end.status)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run_writer)
        nursery.start_soon(_receive, session, sorter, silence)
        with within(AGREE_TIMEOUT_S, "agreement of the two stores"):
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
            make = run_alice if end.config.role == "transmitter" else run_bob
            limit = epsilon_limit(end)
            await limit.look()
            birth = CountedBlocks(limit, BlockBirth(end.config, desk, end.lanes))
            nursery.start_soon(silence.run)
            await make(end, session, birth, runs, blocks, silence)
        finally:
            end.lanes.detach(link, post)
            end.rooms.office.close_desk(link)


async def _agree(end: LinkEnd, session: PeerSession, handshake: Mailbox) -> None:
    await session.send(end.ours)
    theirs = await handshake.get(Agreed)
    if end.turnover.is_behind(theirs):
        raise LinkLost("the neighbour has gone over to the new settings, and so do we")
    check_agreement(end.ours, theirs)


async def _receive(session: PeerSession, sorter: Sorter, silence: Silence) -> None:
    async for message in session:
        silence.heard()
        await sorter.put(message)
