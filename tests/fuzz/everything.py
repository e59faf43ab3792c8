"""All targets, made when they are asked for: some seeds take a store or a certificate to make."""

from types import ModuleType

from tests.fuzz import clients, files, lanes, machines, peers, stores, streams, talks
from tests.fuzz.target import Target

ROOMS: tuple[ModuleType, ...] = (peers, machines, lanes, stores, clients, streams, talks, files)


def all_targets() -> list[Target]:
    targets: list[Target] = []
    for room in ROOMS:
        targets += room.targets()
    assert len({one.name for one in targets}) == len(targets), "two targets of one name"
    return targets
