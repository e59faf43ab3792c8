"""The relay's key manager: which link serves which two applications."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from qkdd.base.errors import LinkLost, OutOfKey
from qkdd.base.ids import LinkId, NodeId, SaeId
from qkdd.daemon.copy_desk import CopyDesk
from qkdd.daemon.hop_counter import HopCounter
from qkdd.daemon.key_desk import KeyDesk
from qkdd.daemon.lane_counter import LaneCounter
from qkdd.daemon.lane_desk import LaneView
from qkdd.daemon.rations import Draw, Rations
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.errors import NOT_FOUND, HttpError, unmet
from qkdd.deliver.extensions import MAX_RELAYS
from qkdd.deliver.messages import Status, StatusExtension
from qkdd.deliver.request import DecRequest, EncRequest, EpochRequest, StatusRequest
from qkdd.deliver.settings import DeliverySettings
from qkdd.keys.copies import Fetch
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.settings import StoreSettings

NOT_ENTITLED = "not one of the SAEs that these keys are for"


class KeyOffice:
    """Answers ETSI GS QKD 014 requests: from a lane, or from the store by way of a link's desk."""

    def __init__(
        self,
        node: NodeId,
        links: Mapping[NodeId, LinkId],
        store: StoreService,
        delivery: DeliverySettings,
        limits: StoreSettings,
        lanes: LaneCounter,
        hops: HopCounter,
        rations: Rations,
        desks: dict[LinkId, KeyDesk],
    ) -> None:
        """``desks``: of the links whose session is up; kept by :meth:`open_desk`."""
        self._node = node
        self._links = links
        self._store = store
        self._copies = CopyDesk(store)
        self._homes = delivery.homes
        self._max_sae_ids = delivery.max_sae_id_count
        self._limits = limits
        self._lanes = lanes
        self._hops = hops
        self._rations = rations
        self._desks = desks

    def take(self, delivery: DeliverySettings) -> None:
        """Serve by these settings from the next request on."""
        self._homes = delivery.homes
        self._max_sae_ids = delivery.max_sae_id_count
        self._lanes.take(delivery.homes)
        self._hops.take(delivery.homes)
        self._rations.take(delivery)

    def open_desk(self, link: LinkId, desk: KeyDesk) -> None:
        self._desks[link] = desk

    def close_desk(self, link: LinkId) -> None:
        self._desks.pop(link, None)

    async def status(self, request: StatusRequest) -> Status:
        peer, limits = self._home(request.slave), self._limits
        view = self._lane_to_send(request.master, request.slave)
        if view is not None:
            return self._lanes.status(view, request, limits, self._max_sae_ids)
        trusted = 0
        if peer != self._node and peer not in self._links:
            trusted = self._hops.n_relays({request.slave: peer})
            link = self._links[NodeId(self._hops.route(peer)[1])]  # what the first hop could give
        else:
            link = self._link_to(peer)
        n_keys = await self._store.do(
            lambda store: store.available_keys(link, limits.key_size_bits)
        )
        return Status(
            source_KME_ID=self._node,
            target_KME_ID=peer,
            master_SAE_ID=request.master,
            slave_SAE_ID=request.slave,
            key_size=limits.key_size_bits,
            stored_key_count=n_keys,
            max_key_count=max(n_keys, limits.max_open_keys),
            max_key_per_request=limits.max_keys_per_request,
            max_key_size=limits.max_key_size_bits,
            min_key_size=limits.min_key_size_bits,
            max_SAE_ID_count=self._max_sae_ids,
            status_extension=StatusExtension(
                qkdd_class="relayed" if trusted else "direct",
                qkdd_relays_trusted=trusted,
                qkdd_quota_bits_per_s=self._rations.rate_of(request.master),
            ),
        )

    async def new_keys(self, request: EncRequest) -> Sequence[DeliveredKey]:
        """Give new keys within the quota of their master; one of which nothing comes is not
        counted."""
        homes = {sae: self._home(sae) for sae in request.slaves}
        if self._home(request.master) != self._node:
            raise HttpError(401, "this SAE's home is another KME")
        with self._rations.drawn(request) as draw:
            return await self._from_somewhere(draw, homes)

    async def _from_somewhere(
        self, draw: Draw, homes: Mapping[str, NodeId]
    ) -> Sequence[DeliveredKey]:
        """Take them from the lane of two applications, else from the one link that reaches every
        slave's home, else have them carried there by hops."""
        request = draw.request
        if len(request.slaves) == 1:
            view = self._lane_to_send(request.master, request.slaves[0])
            if view is not None:
                check_relays(request, view.n_relays_trusted)
                return await self._lanes.new_keys(view, request)
        peers = {home for home in homes.values() if home != self._node}
        if len(peers) > 1 or not peers <= self._links.keys():
            check_relays(request, self._hops.n_relays(homes))
            for first in {self._hops.route(peer)[1] for peer in peers}:
                await self._rations.check_stock(self._links[NodeId(first)], draw)
            return await self._hops.new_keys(request, homes)
        peer = next(iter(peers)) if peers else next(iter(self._links))
        return await self._direct(draw, homes, peer)

    async def _direct(
        self, draw: Draw, homes: Mapping[str, NodeId], peer: NodeId
    ) -> Sequence[DeliveredKey]:
        request, link = draw.request, self._link_to(peer)
        desk = self._desks.get(link)
        if desk is None:
            raise LinkLost(f"link {link} to KME {peer} is not connected")
        await self._rations.check_stock(link, draw)
        try:
            keys = await desk.new_keys(
                request.number,
                request.size_bits,
                SaeId(request.master),
                [SaeId(sae) for sae, home in homes.items() if home == peer],
                [SaeId(sae) for sae, home in homes.items() if home == self._node],
                ahead=not self._rations.keep_stock,
            )
        except OutOfKey as error:
            raise await self._rations.shortage(link, request, error) from error
        return [DeliveredKey(key_id, key) for key_id, key in keys]

    async def known_keys(self, request: DecRequest) -> Sequence[DeliveredKey]:
        """Give a slave its copies, all or none; a lane's keys are known by their key_IDs."""
        view = self._lanes.lane_for(request.master, request.slave)
        numbers = {} if view is None else self._lanes.numbers_of(view, request.key_ids)
        if view is None or not numbers:
            return await self._fetch(request, request.key_ids)
        if not self._lanes.starts_at(view, request.master):
            raise HttpError(401, NOT_ENTITLED)
        try:
            undo = self._lanes.claim(view, list(numbers.values()))
        except KeyNotFound as error:
            raise HttpError(400, NOT_FOUND) from error
        try:
            others = [key_id for key_id in request.key_ids if key_id not in numbers]
            found = await self._fetch(request, others) if others else []
        except BaseException:
            undo()
            raise
        found = [*found, *await self._lanes.known_keys(view, numbers.values(), request.slave, undo)]
        by_id = {one.key_id: one for one in found}
        return [by_id[key_id] for key_id in request.key_ids]

    async def epoch_keys(self, request: EpochRequest) -> Sequence[DeliveredKey]:
        """Give the key of one epoch, the same to both applications of a lane."""
        if self._home(request.caller) != self._node:
            raise HttpError(401, "this SAE's home is another KME")
        view = self._lanes.lane_for(request.caller, request.other)
        if view is None:
            raise HttpError(400, "no lane here is for these two SAEs alone: there are no epochs")
        return await self._lanes.epoch_key(view, request)

    async def _fetch(self, request: DecRequest, key_ids: Sequence[UUID]) -> list[DeliveredKey]:
        slave, master = SaeId(request.slave), SaeId(request.master)
        try:
            copies = await self._copies.fetch(Fetch(tuple(key_ids), slave, master))
        except KeyNotEntitled as error:
            raise HttpError(401, NOT_ENTITLED) from error
        except KeyNotFound as error:
            if self._lanes.are_others(key_ids):
                raise HttpError(401, NOT_ENTITLED) from error
            raise HttpError(400, NOT_FOUND) from error
        return [
            DeliveredKey(key_id, key, n_relays=n_relays)
            for key_id, (key, n_relays) in zip(key_ids, copies, strict=True)
        ]

    def _lane_to_send(self, master: str, slave: str) -> LaneView | None:
        """Return the lane from which ``master`` gets keys for ``slave``: one of their own, or the
        only one where their homes are no neighbours."""
        view = self._lanes.lane_for(master, slave)
        if view is None or not self._lanes.starts_at(view, master):
            return None
        return view if view.settings.saes or self._home(slave) not in self._links else None

    def _home(self, sae: str) -> NodeId:
        return NodeId(self._homes[sae])

    def _link_to(self, node: NodeId) -> LinkId:
        if node == self._node:
            return next(iter(self._links.values()))
        link = self._links.get(node)
        if link is None:
            raise LinkLost(f"no link to KME {node}")
        return link


def check_relays(request: EncRequest, n_relays: int) -> None:
    """Refuse keys that trust more relays than the request allows, before any is used."""
    if request.max_relays is not None and n_relays > request.max_relays:
        raise unmet(MAX_RELAYS, f"these keys trust {n_relays} relays, {request.max_relays} allowed")
