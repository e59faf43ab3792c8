"""Read a network file, and name every mistake in it, not only the first."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from qkdd.amplify.length import check_source
from qkdd.base import toml
from qkdd.frames.settings import check_light
from qkdd.network.laid_out import MAX_NAME, laid_link, link_name, part_of, sae_at
from qkdd.network.settings import Link, Network
from qkdd.relay.settings import Lane


def load(path: Path) -> Network:
    """Read the network file ``path``.

    Raises
    ------
    ConfigError
        Naming every mistake.
    """
    table = toml.read(path)
    found = mistakes(table)
    if found:
        raise toml.refusal(path, found)
    return toml.convert(table, Network)


def mistakes(table: object) -> list[str]:
    """Name every mistake of a network's table: where, what it is, what is allowed."""
    found = list(toml.mistakes(table, Network))
    return found or list(_mistakes(toml.convert(table, Network)))


def _mistakes(network: Network) -> Iterator[str]:
    yield from _twice("nodes", network.nodes)
    yield from _twice("links", [link_name(link) for link in network.links])
    yield from _twice("routes", [route.name for route in network.routes])
    yield from _twice("lanes", [lane.id for lane in network.lanes])
    yield from _twice("clients", [client.sae for client in network.clients])
    for number, link in enumerate(network.links):
        for line in _link_mistakes(network, link):
            yield f"links[{number}]: {line}"
    for number, client in enumerate(network.clients):
        if client.node not in network.nodes:
            yield f"clients[{number}].node: {client.node} is none of the nodes"
    pairs = {frozenset((link.sender, link.receiver_node)) for link in network.links}
    for number, route in enumerate(network.routes):
        yield from _twice(f"routes[{number}].nodes", route.nodes)
        for pair in itertools.pairwise(route.nodes):
            if frozenset(pair) not in pairs:
                yield f"routes[{number}]: no link between {pair[0]} and {pair[1]}"
    yield from _lanes_mistakes(network)


def _twice(where: str, names: Sequence[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{where}: {name} stands there twice"


def _link_mistakes(network: Network, link: Link) -> Iterator[str]:
    default = network.link_defaults
    for node in (link.sender, link.receiver_node):
        if node not in network.nodes:
            yield f"{node} is none of the nodes"
    if link.sender == link.receiver_node:
        yield f"both ends are {link.sender}"
    ends = {link.sender, link.receiver_node}
    if [{x.sender, x.receiver_node} for x in network.links].count(ends) > 1:
        yield f"two links between {link.sender} and {link.receiver_node}: one is the most"
    if len(link_name(link)) > MAX_NAME:
        yield f"the name {link_name(link)} has more than {MAX_NAME} characters: give a shorter one"
    light, receiver = link.light or default.light, link.receiver or default.receiver
    if light not in network.light:
        yield f"light {light!r} is none of [light.*]: {', '.join(network.light)}"
    if receiver not in network.receivers:
        yield f"receiver {receiver!r} is none of [receivers.*]: {', '.join(network.receivers)}"
    if light in network.light and receiver in network.receivers:
        try:
            laid = laid_link(network, link)
            check_light(laid.plan, laid.frames)
            check_source(laid.light.intensities, laid.light.proof)
        except (ValueError, msgspec.ValidationError) as error:
            yield str(error)


def _lanes_mistakes(network: Network) -> Iterator[str]:
    ways = {route.name: route.nodes for route in network.routes}
    served: dict[frozenset[str], str] = {}
    homes = {client.sae: client.node for client in network.clients}
    by_node = {client.node: client.sae for client in reversed(network.clients)}
    for number, lane in enumerate(network.lanes):
        where, nodes = f"lanes[{number}]", ways.get(lane.along)
        if nodes is None:
            yield f"{where}.along: {lane.along} is none of [[routes]]: {', '.join(ways)}"
            continue
        strangers = [end for end in (lane.first, lane.last) if end and end not in nodes]
        for end in strangers:
            yield f"{where}: {end} is not on route {lane.along}"
        if strangers:
            continue
        way = part_of(nodes, lane)
        if len(way) < 2:
            yield f"{where}: both ends are {way[0]}"
            continue
        for sae, node in zip(lane.saes or (), (way[0], way[-1]), strict=False):
            if homes.get(sae) != node:
                yield f"{where}.saes: {sae} is no client at {node}"
        saes = frozenset(lane.saes or (sae_at(by_node, way[0]), sae_at(by_node, way[-1])))
        if saes in served:
            yield (
                f"{where}: {' and '.join(sorted(saes))} are served by lane {served[saes]} already; "
                "name other clients in saes"
            )
        served.setdefault(saes, lane.id)
        try:
            network.lane_times.check(
                Lane(id=lane.id, route=tuple(way), keys_per_1000_s=lane.keys_per_1000_s)
            )
        except ValueError as error:
            yield f"{where}: {error}"
