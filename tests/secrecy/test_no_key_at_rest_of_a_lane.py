"""A relay between the ends of a lane keeps nothing of the keys that it helped to carry."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from qkdd.cli.status import ask
from qkdd.daemon.status_socket import Answer
from tests.secrecy import injected, witness
from tests.secrecy.haystack import files, memory, search
from tests.secrecy.needles import Needle, of_bytes
from tests.whole.route import Route, link_between, open_route
from tests.whole.site import POLL_S

TABLE = "keys_per_1000_s = 4000"
TIMES = "hold_s = 8.0\nbatch_units = 8\nbatch_age_s = 4.0\nretry_s = 1.0\nconfirm_timeout_s = 30.0"
NODES = ("n1", "n2", "n3")
N_BLOCKS, N_KEYS = 8, 16
ALL_READY_S = 60.0
WIPED_WITHIN_S = 1.0
"""Of the moment at which both ends have a key: docs/security.md."""


async def found_in_between(folder: Path, mode: str) -> set[str]:
    """Carry keys from n1 to n3; return the kinds of secrets of keys that are READY at both ends
    which are found in the memory of n2, in its store and in its logs."""
    notes, keys = folder / "notes", folder / "keys"
    async with open_route(folder / "route", *NODES, lane=TABLE, times=TIMES) as route:
        await route.end_lab()
        injected.write_blocks(keys, [link_between(*pair) for pair in route.links], N_BLOCKS)
        for node in NODES:
            (notes / node).mkdir(parents=True)
            route.launch[node] = lambda config, node=node: injected.python(  # type: ignore[misc]
                mode if node == "n2" else "watch", notes / node, keys, config
            )
        await route.start()
        await route.came(N_KEYS, ALL_READY_S)
        await trio.sleep(WIPED_WITHIN_S)
        units = [path.read_bytes() for path in (notes / "n2").glob("unit.*")]
        for node in ("n1", "n3"):
            assert await route.stop(node) == 0
        first, last = route.keys("n1"), route.keys("n3")
        at_both = [key for number, key in first.items() if last.get(number) == key]
        needles = [*named("end-to-end-key", at_both), *named("unit", units)]
        found = await look(route, needles)
        return {line.split(" ")[0] for line in found}


def named(kind: str, secrets: list[bytes]) -> Iterator[Needle]:
    assert len(secrets) >= N_KEYS
    for number, secret in enumerate(secrets):
        yield from of_bytes(f"{kind} {number}", secret)


async def look(route: Route, needles: list[Needle], node: str = "n2") -> list[str]:
    pid, folder = route.children[node].process.pid, route.config(node).parent
    return await trio.to_thread.run_sync(search, needles, memory(pid), files(folder))


@pytest.mark.slow
async def test_a_relay_keeps_no_key_and_no_unit_of_what_it_carried(tmp_path: Path) -> None:
    assert await found_in_between(tmp_path, "watch") == set()


@pytest.mark.slow
async def test_a_relay_whose_wiping_is_off_is_found_to_keep_both(tmp_path: Path) -> None:
    found = await found_in_between(tmp_path, witness.FORGETFUL)
    assert found == {"end-to-end-key", "unit"}


@pytest.mark.slow
async def test_an_end_of_a_lane_that_is_zeroised_forgets_its_keys_and_pads(tmp_path: Path) -> None:
    notes, keys = tmp_path / "notes", tmp_path / "keys"
    async with open_route(tmp_path / "route", *NODES, lane=TABLE, times=TIMES) as route:
        await route.end_lab()
        injected.write_blocks(keys, [link_between(*pair) for pair in route.links], N_BLOCKS)
        for node in NODES:
            (notes / node).mkdir(parents=True)
            route.launch[node] = lambda config, node=node: injected.python(  # type: ignore[misc]
                "watch", notes / node, keys, config, stay=node == "n1"
            )
        await route.start()
        await route.came(N_KEYS, ALL_READY_S)
        needles = [*of_bytes("pads", route.lane_psk)]
        assert await look(route, needles, "n1"), "an end holds the pads that are next"
        socket = route.config("n1").parent / "qkdd.sock"
        answer = await trio.to_thread.run_sync(lambda: ask(socket, "zeroise", timeout_s=30))
        assert msgspec.json.decode(answer, type=Answer).ok
        with trio.fail_after(ALL_READY_S):
            while not (notes / "n1" / "over").exists():  # noqa: ASYNC110  # a file has no event
                await trio.sleep(POLL_S)
        assert await route.stop("n3") == 0
        needles += named("end-to-end-key", list(route.keys("n3").values()))
        assert await look(route, needles, "n1") == []
