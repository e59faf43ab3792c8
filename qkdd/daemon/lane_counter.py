"""Keys of lanes for applications: which lane serves two SAEs, which numbers, each number once.

A lane that serves any two SAEs cannot tell, without a message between its ends, which pair a number
was given to. So it serves a pair only if it is bound to it (``saes``), or if each of its ends is
the home of one SAE alone. Its keys are for the SAE at its first end to send with: were both ends'
applications to send, both would take the same number.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

import structlog
import trio

from qkdd.base.errors import OutOfKey, StoreError
from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.daemon.lane_desk import LaneDesk, LaneView
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.errors import HttpError
from qkdd.deliver.messages import Status, StatusExtension
from qkdd.deliver.request import EncRequest, EpochRequest, StatusRequest
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.settings import StoreSettings
from qkdd.keys.store import KeyStore
from qkdd.relay.epochs import OutsideWindow, epoch_at, epoch_key_id
from qkdd.relay.settings import UNIT_BITS

log = structlog.get_logger(__name__)


class LaneCounter:
    """Serves the lanes that end at this node."""

    def __init__(
        self,
        node: NodeId,
        lanes: LaneDesk,
        store: StoreService,
        homes: Mapping[str, str],
        *,
        utc_s: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._lanes = lanes
        self._store = store
        self._homes = homes
        self._utc_s = utc_s

    def take(self, homes: Mapping[str, str]) -> None:
        """Know these SAEs from now on; the desk of the lanes is told apart."""
        self._homes = homes

    def lane_for(self, one: str, other: str) -> LaneView | None:
        """Return the lane whose numbers only ``one`` and ``other`` get, if there is one."""
        view = self._lanes.lane_of_saes(one, other)
        if view is None or view.settings.saes or self._only_ones(view):
            return view
        return None

    def _only_ones(self, view: LaneView) -> bool:
        homes = list(self._homes.values())
        return all(
            homes.count(end) == 1 for end in (view.settings.route[0], view.settings.route[-1])
        )

    def starts_at(self, view: LaneView, master: str) -> bool:
        """Tell whether ``master`` is the application that the lane's keys are for to send with."""
        return self._homes.get(master) == view.settings.route[0]

    def status(
        self, view: LaneView, request: StatusRequest, limits: StoreSettings, max_sae_ids: int
    ) -> Status:
        """Fill in Table 9 for a lane: the keys that are READY, now or ahead, of 256 bits each."""
        now_s, lane = self._utc_s(), view.settings
        n_keys = view.epochs.n_ahead(now_s) + view.epochs.n_late(now_s)
        return Status(
            source_KME_ID=self._node,
            target_KME_ID=view.other_end,
            master_SAE_ID=request.master,
            slave_SAE_ID=request.slave,
            key_size=UNIT_BITS,
            stored_key_count=n_keys,
            max_key_count=max(n_keys, limits.max_open_keys),
            max_key_per_request=min(limits.max_keys_per_request, view.epochs.window + 1),
            max_key_size=UNIT_BITS,
            min_key_size=UNIT_BITS,
            max_SAE_ID_count=max_sae_ids,  # those keys go by hops
            status_extension=StatusExtension(
                qkdd_class="relayed" if view.n_relays_trusted else "direct",
                qkdd_relays_trusted=view.n_relays_trusted,
                qkdd_lane=lane.id,
                qkdd_epoch=epoch_at(lane, now_s),
                qkdd_epochs_ahead=view.epochs.n_unbroken(now_s),
            ),
        )

    async def new_keys(self, view: LaneView, request: EncRequest) -> list[DeliveredKey]:
        """Take the newest READY numbers up to now.

        Raises
        ------
        HttpError
            400 if the lane never gives such keys, 503 if it has none now.
        OutOfKey
            The clock is not to be trusted.
        """
        lane, most = view.settings, view.epochs.window + 1
        if request.sized and request.size_bits != UNIT_BITS:
            raise HttpError(
                400,
                f"size {request.size_bits}: keys of lane {lane.id} for these SAEs have "
                f"{UNIT_BITS} bits",
            )
        if request.number > most:
            raise HttpError(
                400, f"number {request.number}: lane {lane.id} gives at most {most} keys at once"
            )
        view.epochs.check_clock(view.clock_offset_s())
        numbers: list[int] = []
        try:
            while len(numbers) < request.number:
                numbers.append(view.epochs.to_send_with(self._utc_s(), view.clock_offset_s()))
                view.epochs.gone(numbers[-1])
        except OutOfKey as error:
            view.epochs.ready(*numbers)
            why = f"lane {lane.id}: {len(numbers)} of {request.number} keys are READY"
            raise self._shortage(view, why if numbers else str(error)) from error
        keys = await self._take(view, numbers, request.master, view.epochs.ready)
        return self._delivered(view, numbers, keys)

    def _shortage(self, view: LaneView, why: str) -> HttpError:
        """Say when the next epoch begins for which both ends hold a key, if there is one."""
        wait_s = view.epochs.seconds_to_next(self._utc_s())
        return HttpError(
            503, why, retry_after_s=None if wait_s is None else max(1, math.ceil(wait_s))
        )

    async def epoch_key(self, view: LaneView, request: EpochRequest) -> list[DeliveredKey]:
        """Take the key of one epoch: the same for both applications, at most once for each."""
        try:
            view.epochs.check_named(request.epoch, self._utc_s(), view.clock_offset_s())
        except OutsideWindow as error:
            raise HttpError(400, str(error)) from error
        view.epochs.gone(request.epoch)
        keys = await self._take(view, [request.epoch], request.caller, view.epochs.ready)
        return self._delivered(view, [request.epoch], keys)

    def numbers_of(self, view: LaneView, key_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return those of ``key_ids`` that are the lane's, in its window."""
        now_s = self._utc_s()
        found = {key_id: view.epochs.number_of(key_id, now_s) for key_id in key_ids}
        return {key_id: number for key_id, number in found.items() if number is not None}

    def are_others(self, key_ids: Sequence[UUID]) -> bool:
        """Tell whether one of ``key_ids`` is of a lane that ends here, for whoever it may be."""
        return any(self.numbers_of(view, key_ids) for view in self._lanes.views)

    def claim(self, view: LaneView, numbers: Sequence[int]) -> Callable[[], None]:
        """Keep ``numbers``, asked for by key_ID, from all others; return what undoes it.

        Raises
        ------
        KeyNotFound
            One of them is not to be had here: none is claimed.
        OutOfKey
            The clock is not to be trusted.
        """
        view.epochs.check_clock(view.clock_offset_s())
        for number in numbers:
            try:
                view.epochs.check_asked(number, self._utc_s(), view.clock_offset_s())
            except OutOfKey as error:
                raise KeyNotFound(str(error)) from error
        ready = [number for number in numbers if view.epochs.is_ready(number)]
        held = [number for number in numbers if number not in ready]
        view.epochs.gone(*numbers)

        def undo() -> None:
            view.epochs.ready(*ready)
            view.epochs.held(*held)

        return undo

    async def known_keys(
        self, view: LaneView, numbers: Iterable[int], sae: str, undo: Callable[[], None]
    ) -> list[DeliveredKey]:
        """Take claimed numbers for the application that knows their key_IDs."""
        taken = list(numbers)
        keys = await self._take(view, taken, sae, lambda *_: undo())
        return self._delivered(view, taken, keys)

    async def _take(
        self,
        view: LaneView,
        numbers: Sequence[int],
        sae: str,
        restore: Callable[..., None],
    ) -> list[Secret]:
        """Have the store give out ``numbers``; ``restore`` them if it certainly did not."""
        lane, name = view.settings, SaeId(sae)

        def take(store: KeyStore) -> list[Secret]:
            return [
                store.take_lane_key(lane.id, lane.generation, number, name, [name])
                for number in numbers
            ]

        try:
            return await self._store.do(take)
        except (StoreError, trio.Cancelled):
            restore(*numbers)
            raise
        except (KeyNotFound, KeyNotEntitled) as error:
            log.warning("the store does not give a lane's key", lane=lane.id, reason=str(error))
            raise OutOfKey(
                f"lane {lane.id}: the key was given before, or is not settled"
            ) from error

    def _delivered(
        self, view: LaneView, numbers: Sequence[int], keys: Sequence[Secret]
    ) -> list[DeliveredKey]:
        return [
            DeliveredKey(
                epoch_key_id(view.settings, number),
                key,
                n_relays=view.n_relays_trusted,
                lane=view.settings.id,
                epoch=number,
            )
            for number, key in zip(numbers, keys, strict=True)
        ]
