"""The rooms that give out keys, built for one relay: hops, and the office before all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qkdd.base.entropy import Entropy
from qkdd.base.ids import LinkId, NodeId
from qkdd.daemon.hop_counter import HopCounter
from qkdd.daemon.hop_desk import HopDesk
from qkdd.daemon.key_desk import KeyDesk
from qkdd.daemon.key_office import KeyOffice
from qkdd.daemon.lane_counter import LaneCounter
from qkdd.daemon.lane_desk import LaneDesk
from qkdd.daemon.rations import Rate, Rations
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.settings import DeliverySettings
from qkdd.keys.settings import StoreSettings
from qkdd.relay.routes import Routes


@dataclass(frozen=True, slots=True)
class KeyRooms:
    hops: HopDesk
    office: KeyOffice


def key_rooms(
    node: NodeId,
    links: Mapping[NodeId, LinkId],
    store: StoreService,
    delivery: DeliverySettings,
    limits: StoreSettings,
    lanes: LaneDesk,
    *,
    routes: Iterable[Sequence[str]],
    entropy: Entropy,
    rate: Rate = lambda _link: None,
) -> KeyRooms:
    """Build them for one relay; ``links`` are to its neighbours, ``routes`` beyond; ``rate`` is
    what a link makes."""
    homes, desks = delivery.homes, dict[LinkId, KeyDesk]()
    hops = HopDesk(node, links, store, homes, limits, desks)
    office = KeyOffice(
        node,
        links,
        store,
        delivery,
        limits,
        LaneCounter(node, lanes, store, homes),
        HopCounter(node, Routes(node, links, routes), hops, entropy),
        Rations(delivery, store, rate),
        desks,
    )
    return KeyRooms(hops, office)
