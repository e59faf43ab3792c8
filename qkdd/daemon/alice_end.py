"""The transmitter's part of a session: light out, blocks distilled, until new settings."""

from functools import partial

import trio

from drivers.errors import InstrumentError
from qkdd.base.errors import LinkLost
from qkdd.base.ids import LinkId
from qkdd.daemon.distil import BlockDesk, Ties
from qkdd.daemon.distil_alice import AliceDistiller, SentBlocks
from qkdd.daemon.light_alice import AliceLight
from qkdd.daemon.link_end import LinkEnd, keep_light, reporter, voider
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.quiet_worker import QuietWorker
from qkdd.daemon.silence import Silence
from qkdd.daemon.supervise import reasons
from qkdd.daemon.turnover import light_until
from qkdd.net.peer import PeerSession
from qkdd.reconcile.frames import load_codes
from qkdd.station.tap import TapRecord
from qkdd.station.transmitter import open_transmitter

LAST_BLOCK_S = 30.0
"""For the key of the last block before new settings; a block that takes longer is given up."""

AUTH_TARGET_BYTES = 1024 * 1024
"""Authentication key that blocks top up, each direction: nine hours of one key a second without
light, each asked for alone (docs/decisions/0009)."""


async def run_alice(
    end: LinkEnd,
    session: PeerSession,
    birth: BlockDesk,
    runs: Mailbox,
    blocks: Mailbox,
    silence: Silence,
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
    ties = Ties(end.settings, birth, session.send, blocks, reporter(end), voider(end), worker)
    distiller = AliceDistiller(ties, entropy=end.entropy, auth_wanted=auth_wanted)
    light = AliceLight(
        end.settings,
        session.send,
        runs,
        sent,
        end.status,
        silence,
        entropy=end.entropy,
        first_block=await end.store.do(lambda store: store.next_block_no(link)),
        tap=_tap_record(end),
        until=end.turnover.over,
    )

    async def shine() -> None:
        try:
            async with open_transmitter(
                transmitter_settings, board_key=board_key.reveal(), entropy=end.entropy
            ) as transmitter:
                with end.status.light.at_work():
                    await light.run(transmitter)
        except* InstrumentError as errors:
            await light.tell_failure("; ".join(reasons(errors)))
            raise

    try:
        await worker(load_codes, end.settings.reconcile)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(distiller.run, sent)
            await light_until(
                end.turnover.over, end.status, end.settings.plan, partial(keep_light, end, shine)
            )
            with trio.move_on_after(LAST_BLOCK_S):
                await distiller.finished(sent.newest)
            raise LinkLost("both ends go over to the new settings")
    finally:
        worker.close()
        sent.wipe()


def _tap_record(end: LinkEnd) -> TapRecord | None:
    tap = end.config.transmitter.tap if end.config.transmitter is not None else None
    if tap is None:
        return None
    settings = end.settings
    return TapRecord(tap, settings.proof.mu_uncertainty, settings.plan, settings.intensities)
