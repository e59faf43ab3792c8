"""End-to-end keys over relays that are processes: equal at both ends, whatever breaks."""

from pathlib import Path

import pytest

from tests.chaos.weather import CALM, Weather
from tests.whole.route import Route, open_route

LANE = "keys_per_1000_s = 4000"
TIMES = """
hold_s = 8.0
jump_ahead_epochs = 120
batch_units = 8
batch_age_s = 4.0
retry_s = 1.0
confirm_timeout_s = 30.0
"""
FIRST_KEYS_S, NEXT_KEYS_S = 60.0, 40.0
SETTLED_S = 60.0


async def ends_agree(route: Route, at_least: int) -> dict[int, bytes]:
    """Stop both ends; every key must lie at both, equal, and none twice; return them."""
    first, last = route.nodes[0], route.nodes[-1]
    for node in (first, last):
        assert await route.stop(node) == 0
    keys = route.keys(first)
    assert keys == route.keys(last)
    assert len(set(keys.values())) == len(keys) >= at_least
    return keys


async def accounts_agree(route: Route) -> None:
    """Put the light out, and wait until both ends of every link count alike, to the bit."""
    await route.end_lab()

    def alike() -> bool:
        return all(
            route.link(upper, lower).account == route.link(lower, upper).account
            and not route.under_way(upper)
            and not route.under_way(lower)
            for upper, lower in route.links
        )

    await route.wait("the same account at both ends of every link", alike, SETTLED_S)
    for upper, lower in route.links:
        account = route.link(upper, lower).account
        assert account["relayed"] > 0
        assert account["distilled"] + account["pre_shared"] == sum(
            account[way]
            for way in ("authentication", "delivered", "relayed", "burned", "reserved", "stock")
        )


@pytest.mark.slow
async def test_a_relay_that_is_killed_costs_what_was_in_flight_and_no_agreement(
    tmp_path: Path,
) -> None:
    async with open_route(tmp_path, "n1", "n2", "n3", "n4", lane=LANE, times=TIMES) as route:
        await route.start()
        await route.came(8, FIRST_KEYS_S)
        await route.kill("n2")
        await route.start("n2")
        seen = max(route.lane(end).n_came for end in ("n1", "n4"))
        await route.came(seen + 16, NEXT_KEYS_S)
        await accounts_agree(route)
        await ends_agree(route, seen + 16)


@pytest.mark.long
@pytest.mark.slow
async def test_a_last_and_a_first_end_that_are_killed_find_each_other_again(
    tmp_path: Path,
) -> None:
    async with open_route(tmp_path, "n1", "n2", "n3", lane=LANE, times=TIMES) as route:
        await route.start()
        await route.came(8, FIRST_KEYS_S)
        n_before = {}
        for end in ("n3", "n1"):
            await route.kill(end)
            n_before[end] = len(route.keys(end))
            await route.start(end)
            await route.came(0, NEXT_KEYS_S)
        await route.came(16, NEXT_KEYS_S)
        await accounts_agree(route)
        await ends_agree(route, max(n_before.values()) + 16)


@pytest.mark.long
@pytest.mark.slow
async def test_a_link_that_breaks_is_waited_for_and_its_lane_goes_on(tmp_path: Path) -> None:
    async with (
        open_route(tmp_path, "n1", "n2", "n3", lane=LANE, times=TIMES) as route,
        route.behind_a_proxy("n1") as proxy,
    ):
        await route.start()
        await route.came(8, FIRST_KEYS_S)
        proxy.turn(Weather(blocked=True))
        proxy.reset()
        await route.wait(
            "both sides of the break say what they wait for",
            lambda: (
                route.lane("n1").reason == "no session with n2"
                and route.lane("n2").reason == "no session with n1"
                and route.lane("n1").state == route.lane("n2").state == "waiting"
            ),
            NEXT_KEYS_S,
        )
        seen = max(route.lane(end).n_came for end in ("n1", "n3"))
        proxy.turn(CALM)
        await route.came(seen + 16, NEXT_KEYS_S)
        await accounts_agree(route)
        await ends_agree(route, seen + 16)
