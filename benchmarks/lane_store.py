"""What a lane costs an end's store: CPU and disk syncs of batches and of keys handed out.

Per key: 1/16 of the commits of a batch (mark, hold and verdict at the last end), and one hand-out.
Printed against a bare synced commit of the same disk, and as a share of one core at the rate
that a trunk asks of its busiest end (10 lanes of 1.2 keys a second).

    python -m benchmarks.lane_store [KEYS]
"""

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from qkdd.base.ids import NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.store import KeyStore

BATCH = 16
LANES = [f"lane-{n}" for n in range(10)]
KEYS_PER_S = 12
SAE = SaeId("sae")


def cpu_s(work: Callable[[], object]) -> tuple[float, float]:
    """Return the CPU time and the time on the wall of ``work``."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def batches(store: KeyStore, n_batches: int, pairs: dict[str, int]) -> None:
    """Mark, hold, READY with a renewal: what a last and a first end do together, in 3 commits."""
    keys = Secret(32 * BATCH)
    for at in range(n_batches):
        lane = LANES[at % len(LANES)]
        start = BATCH * (at // len(LANES))
        numbers = range(start, start + BATCH)
        pair = pairs[lane]
        pairs[lane] += 1
        store.mark_lane(lane, 0, start + BATCH)
        store.hold_lane(lane, 0, bytes(80), numbers, keys, pair)
        with Secret.from_bytes(keys.reveal()[32:]) as rest, Secret(32) as renewal:
            store.ready_lane(lane, 0, numbers[1:], rest, bytes(80), pair, renewal)


def hand_out(store: KeyStore, first: int, last: int, group: int) -> None:
    """Keys ``first`` to ``last`` (over all lanes in turn), ``group`` of them in each commit."""
    for start in range(first, last, group):
        with store.transaction():
            for at in range(start, start + group):
                batch, key = divmod(at // len(LANES), BATCH - 1)
                lane, number = LANES[at % len(LANES)], BATCH * batch + 1 + key
                store.take_lane_key(lane, 0, number, SAE, [SAE]).wipe()


def bare(folder: Path, n_commits: int) -> None:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (x BLOB)")
    for _ in range(n_commits):
        connection.execute("INSERT INTO t VALUES (zeroblob(32))")
    connection.close()


def report(what: str, n_things: int, per_s: float, cpu: float, wall: float, unit: float) -> None:
    print(
        f"{what:28} {1e3 * cpu / n_things:7.3f} ms CPU, {1e3 * wall / n_things:7.3f} ms, "
        f"{cpu / n_things / unit:5.1f} bare commits, "
        f"{100 * per_s * cpu / n_things:5.2f} % of a core at {per_s:g}/s"
    )


def main() -> None:
    n_keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500
    n_keys -= n_keys % (2 * len(LANES) * (BATCH - 1))
    n_batches = n_keys // (BATCH - 1)
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        cpu, wall = cpu_s(lambda: bare(folder, n_keys))
        unit = cpu / n_keys
        report("bare synced commit", n_keys, KEYS_PER_S, cpu, wall, unit)
        with Secret.from_bytes(os.urandom(32)) as master:
            store = KeyStore.open(folder / "end.db", master, NodeId("end"), os.urandom)
        pairs = dict.fromkeys(LANES, 0)
        for lane in LANES:
            with Secret.from_bytes(os.urandom(64 * 1024)) as psk:
                store.install_lane_psk(lane, psk)
            store.lane_memory(lane, 0)
        result = cpu_s(lambda: batches(store, n_batches, pairs))
        report(f"batch of {BATCH}, 3 commits", n_batches, KEYS_PER_S / BATCH, *result, unit)
        half = n_keys // 2
        result = cpu_s(lambda: hand_out(store, 0, half, 1))
        report("key handed out alone", half, KEYS_PER_S, *result, unit)
        result = cpu_s(lambda: hand_out(store, half, n_keys, len(LANES)))
        report("key handed out, 10 together", half, KEYS_PER_S, *result, unit)
        result = cpu_s(lambda: [store.lane_stock(lane) for lane in LANES])
        report("account of a lane", len(LANES), 1, *result, unit)
        store.close()


if __name__ == "__main__":
    main()
