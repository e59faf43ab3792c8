"""A wave over many relays: from the birth of the last link's units to READY at both ends.

    python -m benchmarks.lane_hops [--hops 33] [--lanes 1] [--rounds 20]

All relays run in this one process and interpreter, with real stores at both ends of each lane (and
for each link's blocks), every message encoded and decoded; no light, no TLS and no tags. So it
bounds from above what the code of lanes itself adds, for in a network each relay has a processor.
Prints the time from the last birth to READY at both ends, CPU time for each hop and key, and the
batches on a link for each key, of which each costs 16 bytes of authentication key; with the goals.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import structlog
import trio
import trio.testing

from qkdd.relay.settings import Lane, LaneTimes
from tests.daemon.lane_network import Network, network

UNITS = 16
GOAL_READY_S, GOAL_TAG_SHARE = 0.150, 0.20
KEY_BITS, TAG_BITS = 256, 128
TIMES = LaneTimes(batch_units=UNITS, renew_below_pairs=0, trust_unsynchronised_clock=True)
PATIENCE_S = 60.0


def count_ready(net: Network, lanes: list[Lane]) -> int:
    """Count keys that are READY at both ends of every lane."""
    ends = {end for lane in lanes for end in (lane.route[0], lane.route[-1])}
    return min(one.n_came for end in ends for one in net.nodes[end].lanes.snapshot())


async def one_round(net: Network, lanes: list[Lane], index: int) -> tuple[float, float]:
    """Light every link of the route, the last one last; return wall and CPU time from then on."""
    route = lanes[0].route
    wanted = count_ready(net, lanes) + UNITS
    n_bytes = 1024 + KEY_BITS // 8 * UNITS * len(lanes)
    for upper, lower in list(pairwise(route))[:-1]:
        await net.light(upper, lower, index, n_bytes)
    await trio.testing.wait_all_tasks_blocked()
    await net.light(*route[-2:], index, n_bytes)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    with trio.fail_after(PATIENCE_S):
        while count_ready(net, lanes) < wanted:  # noqa: ASYNC110  what is measured sets no event
            await trio.sleep(0.002)
    return time.perf_counter() - start_s, time.process_time() - start_cpu_s


async def measure(folder: Path, n_hops: int, n_lanes: int, n_rounds: int) -> None:
    route = tuple(f"n{number:03}" for number in range(n_hops + 1))
    lanes = [
        Lane(id=f"lane{number}", route=route, keys_per_1000_s=1000 * UNITS // 2)
        for number in range(n_lanes)
    ]
    async with network(folder, *lanes, times=TIMES) as net:
        await one_round(net, lanes, 0)
        n_batches = net.n_batches
        rounds = [await one_round(net, lanes, 0) for _ in range(n_rounds)]
        n_keys = UNITS * n_lanes * n_rounds
        per_key = (net.n_batches - n_batches) / n_hops / n_keys
    walls = sorted(wall for wall, _ in rounds)
    cpu_s = statistics.median(cpu for _, cpu in rounds)
    p99_s = walls[min(len(walls) - 1, int(0.99 * len(walls)))]
    print(f"{n_hops} hops, {n_lanes} lane(s), {UNITS} keys a round, {n_rounds} rounds")
    print(
        f"last birth to READY at both ends: median {1e3 * statistics.median(walls):.0f} ms, p99 "
        f"{1e3 * p99_s:.0f} ms ({p99_s / GOAL_READY_S:.2f} of the goal)"
    )
    print(f"CPU for a key and hop: {1e6 * cpu_s / (UNITS * n_lanes * n_hops):.0f} us")
    print(
        f"batches on a link for a key, blocks' commits included: {per_key:.2f}, "
        f"{TAG_BITS * per_key / KEY_BITS / GOAL_TAG_SHARE:.2f} of the goal if all had tags"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hops", type=int, default=33)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), chosen.hops, chosen.lanes, chosen.rounds)


if __name__ == "__main__":
    main()
