"""What an end of a lane keeps in the store, and what becomes of its keys there."""

import time
from collections.abc import Callable
from typing import TypeAlias

import structlog

from qkdd.daemon.lane_desk import LaneView
from qkdd.daemon.lane_machine import encode
from qkdd.daemon.lane_misses import MissCounter
from qkdd.daemon.lane_status import LaneStatus
from qkdd.daemon.store_service import StoreService
from qkdd.keys.lane_book import LaneMemory
from qkdd.keys.store import KeyStore
from qkdd.relay.actions import Hold, PersistMark, PersistVerdict, Ready, TrimPads, Voided

log = structlog.get_logger(__name__)

Kept: TypeAlias = PersistMark | TrimPads | Hold | Ready | PersistVerdict | Voided


class LaneKeeper:
    """The store, the epochs and the counters of one end, in step with each other."""

    def __init__(self, status: LaneStatus, view: LaneView, store: StoreService) -> None:
        self.misses = MissCounter(view.settings)
        self._status = status
        self._view = view
        self._store = store
        self._lane = view.settings.id
        self._generation = view.settings.generation
        self._n_bad_tags = 0
        self.newest_epoch = 0
        """The last that lay here, READY or held, when the store was read."""

    async def recall(self) -> LaneMemory | None:
        """Read what the store remembers; None if no end-to-end key is installed."""
        lane, generation = self._lane, self._generation
        memory = await self._store.do(lambda store: store.lane_memory(lane, generation))
        if memory is not None:
            numbers = await self._store.do(lambda store: store.lane_numbers(lane, generation))
            self._view.epochs.restart(numbers.ready, numbers.held)
            self.misses.resume(numbers.ready, time.time())
            self._n_bad_tags = memory.failures
            self.newest_epoch = max([*numbers.ready, *numbers.held], default=0)
        return memory

    async def keep(self, action: Kept) -> None:
        """Return once it is on disk; secrets are wiped."""
        lane, generation = self._lane, self._generation
        match action:
            case PersistMark(next_number):
                await self._store.do(lambda store: store.mark_lane(lane, generation, next_number))
            case TrimPads(first, end):
                await self._store.do(lambda store: store.trim_lane_pads(lane, first, end))
            case Hold(confirm, keys):
                epochs, data = list(confirm.epochs), encode(confirm)
                with keys:
                    await self._store.do(
                        lambda store: store.hold_lane(
                            lane, generation, data, epochs, keys, confirm.pair
                        )
                    )
                self._view.epochs.held(*epochs)
            case Ready():
                await self._ready(action)
            case PersistVerdict(verdict):
                data = encode(verdict)
                await self._store.do(
                    lambda store: store.judge_lane(lane, generation, data, verdict.pair)
                )
                self._view.epochs.released()
                log.warning("lane keys refused", lane=lane, first=verdict.first)
            case Voided(numbers):
                self._status.n_void += len(numbers)

    async def _ready(self, action: Ready) -> None:
        epochs, keys, verdict, renewal = (
            action.epochs,
            action.keys,
            action.verdict,
            action.renewal,
        )
        data = encode(verdict)
        operation: Callable[[KeyStore], list[int]] = lambda store: store.ready_lane(  # noqa: E731
            self._lane, self._generation, epochs, keys, data, verdict.pair, renewal
        )
        left = await self._store.do(operation)
        self._view.epochs.released()
        self._view.epochs.ready(*left)
        self.misses.ready(*epochs)
        self._status.n_came += len(epochs)
        log.info(
            "lane keys ready",
            lane=self._lane,
            first=epochs[0] if epochs else None,
            last=epochs[-1] if epochs else None,
            n_keys=len(epochs),
            renewed=verdict.renew,
        )

    async def tried(self, n_bad_tags: int) -> None:
        """Put the association's bad tags on disk: an attacker gets no fresh tries by a restart."""
        if n_bad_tags > self._n_bad_tags:
            self._n_bad_tags = n_bad_tags
            await self._store.do(lambda store: store.lane_tried(self._lane, n_bad_tags))
            log.error("lane message not from its other end", lane=self._lane, bad_tags=n_bad_tags)

    async def pass_time(self) -> None:
        """Count missed epochs, and burn keys that nobody may ask for any more."""
        utc_s = time.time()
        self.misses.pass_time(utc_s)
        past = self._view.epochs.past(utc_s)
        if past:
            lane, generation = self._lane, self._generation
            await self._store.do(lambda store: store.burn_lane_keys(lane, generation, past))
            self._view.epochs.gone(*past)
