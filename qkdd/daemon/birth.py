"""The birth of a block: cut between key store and lanes, in memory, alike at both ends."""

from collections.abc import Mapping
from typing import Protocol

import structlog
import trio

from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.light import LightPlan
from qkdd.base.secret import Secret
from qkdd.config import Link
from qkdd.daemon.distil import Work
from qkdd.daemon.lanes import Lanes
from qkdd.relay.cut import LightSpan, cut_block, take_units

log = structlog.get_logger(__name__)

US_PER_S = 1_000_000


class StoreDesk(Protocol):
    """The two-end commit of what goes to the key store."""

    async def commit_block(
        self, block_no: BlockNo, key: Secret, auth_bytes: int, *, lane_bits: int = 0
    ) -> bool: ...


def light_span(plan: LightPlan, index: int) -> LightSpan:
    """Return when in its run the ``index``-th block was sent, by the pulse count alone."""
    span = plan.block_span(index)
    return LightSpan(
        span.start * US_PER_S // plan.pulse_rate_hz, span.stop * US_PER_S // plan.pulse_rate_hz
    )


class BlockBirth:
    """Commits a link's blocks; the lanes' share never enters the key store."""

    def __init__(self, link: Link, desk: StoreDesk, lanes: Lanes) -> None:
        self._link = LinkId(link.name)
        self._plan = link.light
        self._promised = link.promised
        self._desk = desk
        self._lanes = lanes
        self._carried = lanes.on(self._link)

    async def commit_block(self, work: Work, key: Secret, auth_bytes: int) -> bool:
        """Two-end commit; once the block is live at both ends, its units go to the lanes.

        Returns whether it is live. Wipes ``key``, and the units of a block that is not.
        """
        if not self._carried:
            return await self._desk.commit_block(work.block_no, key, auth_bytes)
        cut = cut_block(
            8 * len(key),
            auth_bytes=auth_bytes,
            span=light_span(self._plan, work.index),
            lanes=self._carried,
            promised=self._promised,
        )
        stock, units = take_units(key, cut, block_no=work.block_no, now_s=trio.current_time())
        try:
            live = await self._desk.commit_block(
                work.block_no, stock, auth_bytes, lane_bits=cut.lane_bits
            )
            if live:
                self._lanes.born(self._link, units)
                units = {}
        finally:
            for block in units.values():
                block.wipe()
        if cut.short:
            self._lanes.short(cut.short)
            log.warning(
                "block too short for its lanes", block_no=work.block_no, **_named(cut.short)
            )
        return live


def _named(short: Mapping[str, int]) -> dict[str, int]:
    return {f"units of {name or 'stock'}": n_units for name, n_units in short.items()}
