"""End-to-end keys over relays that are processes: equal at both ends, whatever breaks."""

from pathlib import Path

import pytest

from tests.whole.route import open_route

NODES = ("n1", "n2", "n3")
LANE = "rate_mhz = 4000"
TIMES = """
hold_s = 20.0
batch_units = 8
batch_age_s = 5.0
retry_s = 1.0
"""


@pytest.mark.slow
async def test_keys_over_a_relay_are_ready_and_equal_at_both_ends(tmp_path: Path) -> None:
    async with open_route(tmp_path, *NODES, lane=LANE, times=TIMES) as route:
        await route.start()
        await route.came(16, 60)
        assert await route.stop("n1") == 0
        assert await route.stop("n3") == 0
        first, last = route.keys("n1"), route.keys("n3")
        assert first == last
        assert len(set(first.values())) == len(first) >= 16
