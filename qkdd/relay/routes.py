"""Routes of keys outside lanes: pieces of what the operator has written down."""

from collections.abc import Iterable, Sequence


class Routes:
    """Finds the way from one node to any other that shares a route with it."""

    def __init__(
        self, node: str, neighbours: Iterable[str], routes: Iterable[Sequence[str]]
    ) -> None:
        """``routes``: of lanes and of ``[[routes]]``, either way round."""
        self._node = node
        self._ways: dict[str, tuple[str, ...]] = {}
        for route in routes:
            if node in route:
                place = route.index(node)
                self._add(tuple(route[place:]))
                self._add(tuple(route[place::-1]))
        for neighbour in neighbours:
            self._ways[neighbour] = (node, neighbour)

    def _add(self, way: tuple[str, ...]) -> None:
        """Take in the ways to all nodes of ``way``; the shortest counts, the first of equals."""
        for place, node in enumerate(way[1:], start=1):
            known = self._ways.get(node)
            if known is None or len(known) > place + 1:
                self._ways[node] = way[: place + 1]

    def to(self, node: str) -> tuple[str, ...] | None:
        """Return all nodes from here to ``node``, or None if nobody has written down a way."""
        return self._ways.get(node)


def n_relays(routes: Iterable[Sequence[str]]) -> int:
    """Return how many nodes see a key that goes over all of ``routes``, besides the two KMEs
    whose applications use it."""
    return max(0, len({node for route in routes for node in route}) - 2)
