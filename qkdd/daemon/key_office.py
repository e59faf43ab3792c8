"""The relay's key manager: which link serves which two applications."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from qkdd.base.errors import LinkLost
from qkdd.base.ids import LinkId, NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.daemon.key_desk import KeyDesk
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.messages import Status
from qkdd.deliver.request import DecRequest, EncRequest, HttpError, StatusRequest
from qkdd.deliver.settings import DeliverySettings
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.settings import StoreSettings


class KeyOffice:
    """Answers ETSI GS QKD 014 requests from the store, by way of the desk of a link."""

    def __init__(
        self,
        node: NodeId,
        links: Mapping[NodeId, LinkId],
        store: StoreService,
        delivery: DeliverySettings,
        limits: StoreSettings,
    ) -> None:
        self._node = node
        self._links = links
        self._store = store
        self._homes = delivery.homes
        self._max_sae_ids = delivery.max_sae_id_count
        self._limits = limits
        self._desks: dict[LinkId, KeyDesk] = {}

    def take(self, delivery: DeliverySettings) -> None:
        """Serve by these settings from the next request on."""
        self._homes = delivery.homes
        self._max_sae_ids = delivery.max_sae_id_count

    def open_desk(self, link: LinkId, desk: KeyDesk) -> None:
        self._desks[link] = desk

    def close_desk(self, link: LinkId) -> None:
        self._desks.pop(link, None)

    async def status(self, request: StatusRequest) -> Status:
        peer = self._home(request.slave)
        link, limits = self._link_to(peer), self._limits
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
        )

    async def new_keys(self, request: EncRequest) -> Sequence[tuple[UUID, Secret]]:
        """Reserve on the one link that reaches every slave's home."""
        homes = {sae: self._home(sae) for sae in request.slaves}
        peers = {home for home in homes.values() if home != self._node}
        if self._home(request.master) != self._node:
            raise HttpError(401, "this SAE's home is another KME")
        if len(peers) > 1:
            raise HttpError(400, f"slaves at {len(peers)} other KMEs: one link serves one KME")
        peer = next(iter(peers)) if peers else next(iter(self._links))
        link = self._link_to(peer)
        desk = self._desks.get(link)
        if desk is None:
            raise LinkLost(f"link {link} to KME {peer} is not connected")
        return await desk.new_keys(
            request.number,
            request.size_bits,
            SaeId(request.master),
            [SaeId(sae) for sae, home in homes.items() if home == peer],
            [SaeId(sae) for sae, home in homes.items() if home == self._node],
        )

    async def known_keys(self, request: DecRequest) -> Sequence[tuple[UUID, Secret]]:
        slave, master = SaeId(request.slave), SaeId(request.master)
        try:
            keys = await self._store.do(
                lambda store: store.fetch_keys(request.key_ids, slave, master)
            )
        except KeyNotEntitled as error:
            raise HttpError(401, "not one of the SAEs that these keys are for") from error
        except KeyNotFound as error:
            raise HttpError(400, "one or more keys specified are not found on KME") from error
        return list(zip(request.key_ids, keys, strict=True))

    def _home(self, sae: str) -> NodeId:
        return NodeId(self._homes[sae])

    def _link_to(self, node: NodeId) -> LinkId:
        if node == self._node:
            return next(iter(self._links.values()))
        link = self._links.get(node)
        if link is None:
            raise LinkLost(f"no link to KME {node}")
        return link
