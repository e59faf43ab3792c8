"""A part of a network: its first nodes and what lies between them, for a smaller machine."""

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from qkdd.network.laid_out import part_of, sae_at
from qkdd.network.settings import Network


def first_nodes(network: Network, number: int) -> Network:
    """Cut the network down to its first nodes, with what lies between them.

    A lane whose route leaves them is shortened to its longest piece inside, and left out if another
    lane serves its ends already; routes likewise.
    """
    kept = set(network.nodes[:number])
    routes = []
    for route in network.routes:
        inside = max(_runs(route.nodes, kept), key=len, default=())
        if len(inside) >= 2:
            routes.append(msgspec.structs.replace(route, nodes=inside))
    ways = {route.name: route.nodes for route in routes}
    homes = {client.node: client.sae for client in reversed(network.clients)}
    lanes, served = [], set[frozenset[str]]()
    for lane in network.lanes:
        whole = next(route.nodes for route in network.routes if route.name == lane.along)
        way = [node for node in part_of(whole, lane) if node in ways.get(lane.along, ())]
        if len(way) < 2:
            continue
        saes = lane.saes if len(way) == len(part_of(whole, lane)) else None
        pair = frozenset(saes or (sae_at(homes, way[0]), sae_at(homes, way[-1])))
        if pair in served:
            continue
        served.add(pair)
        lanes.append(msgspec.structs.replace(lane, first=way[0], last=way[-1], saes=saes))
    return msgspec.structs.replace(
        network,
        nodes=network.nodes[:number],
        links=tuple(x for x in network.links if {x.sender, x.receiver_node} <= kept),
        routes=tuple(routes),
        lanes=tuple(lanes),
        clients=tuple(client for client in network.clients if client.node in kept),
    )


def _runs(nodes: Sequence[str], kept: set[str]) -> Iterator[tuple[str, ...]]:
    for inside, run in itertools.groupby(nodes, lambda node: node in kept):
        if inside:
            yield tuple(run)
