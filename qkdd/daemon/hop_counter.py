"""Keys outside lanes for applications: drawn here, and carried to each slave's home by hops."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from qkdd.base.entropy import Entropy
from qkdd.base.errors import LinkLost
from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.daemon.hop_desk import HopDesk
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.errors import HttpError
from qkdd.deliver.request import EncRequest
from qkdd.relay.hop_actions import HopOrder
from qkdd.relay.hop_messages import ID_BYTES, MAX_MASKED_BYTES
from qkdd.relay.routes import Routes, n_relays


class HopCounter:
    """Serves slaves whose homes are no neighbours, or several at once."""

    def __init__(self, node: NodeId, routes: Routes, hops: HopDesk, entropy: Entropy) -> None:
        self._node = node
        self._routes = routes
        self._hops = hops
        self._entropy = entropy

    def take(self, homes: Mapping[str, str]) -> None:
        """Know these SAEs from now on."""
        self._hops.take(homes)

    def route(self, node: str) -> tuple[str, ...]:
        """Return the way to ``node``; LinkLost if there is none."""
        route = self._routes.to(node)
        if route is None:
            raise LinkLost(f"no link, lane or route from here to KME {node}")
        return route

    def n_relays(self, homes: Mapping[str, NodeId]) -> int:
        """Return how many relays keys for slaves with these ``homes`` would trust."""
        return n_relays(self.route(home) for home in set(homes.values()) - {self._node})

    async def new_keys(
        self, request: EncRequest, homes: Mapping[str, NodeId]
    ) -> list[DeliveredKey]:
        """Draw keys, carry them to every home, and return the master's copies.

        Raises
        ------
        HttpError
            They are too many for one message.
        LinkLost
            They did not come through; the message names the hop.
        """
        n_bytes = request.size_bits // 8
        if request.number * n_bytes > MAX_MASKED_BYTES:
            raise HttpError(
                400,
                f"{request.number} keys of {request.size_bits} bits: over relays at most "
                f"{8 * MAX_MASKED_BYTES} bits in one request",
            )
        ids = [UUID(bytes=self._entropy(ID_BYTES), version=4) for _ in range(request.number)]
        orders = self._orders(request, homes, ids)
        local = [sae for sae, home in homes.items() if home == self._node]
        with Secret.absorb(self._entropy(request.number * n_bytes)) as keys:
            await self._hops.carry(orders, keys, local)
            text = keys.reveal()
            return [
                DeliveredKey(
                    key_id,
                    Secret.from_bytes(text[number * n_bytes : (number + 1) * n_bytes]),
                    n_relays=orders[0].n_relays,
                )
                for number, key_id in enumerate(ids)
            ]

    def _orders(
        self, request: EncRequest, homes: Mapping[str, NodeId], ids: Sequence[UUID]
    ) -> list[HopOrder]:
        """Write an order for each home of a slave but this node."""
        trusted = self.n_relays(homes)
        return [
            HopOrder(
                transfer=self._entropy(ID_BYTES),
                route=self.route(home),
                n_relays=trusted,
                master=request.master,
                slaves=tuple(sae for sae, its in homes.items() if its == home),
                n_bytes=request.size_bits // 8,
                key_ids=b"".join(key_id.bytes for key_id in ids),
            )
            for home in dict.fromkeys(homes.values())
            if home != self._node
        ]
