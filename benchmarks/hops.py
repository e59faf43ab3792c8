"""Keys by hops: four relays in a row in one process, real stores and HTTPS, sessions in memory.

    python -m benchmarks.hops [--keys 100]

Asks for keys one by one, between neighbours (no hop by pads) and over two and three links, and
prints how long a key takes and what CPU it costs, each over the direct key's. One process does the
work of all relays and of the application.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import structlog
import trio

from qkdd.net.client import HttpsClient
from tests.delivery.relay_row import relay_row

SLAVES = {"beta": 1, "gamma": 2, "delta": 3}
"""Applications by the number of links between them and the master."""
STOCK_BYTES = 256 * 1024
WARNING = 30


async def ask(master: HttpsClient, slave: str, n_keys: int) -> tuple[list[float], float]:
    """Ask ``n_keys`` times; return the milliseconds of each and the CPU microseconds of one."""
    times_ms, before_s = [], time.process_time()
    for _ in range(n_keys):
        since_s = time.perf_counter()
        status, answer = await master.request("GET", f"/api/v1/keys/{slave}/enc_keys")
        if status != 200:
            raise SystemExit(f"{slave}: {status} {bytes(answer).decode()}")
        times_ms.append(1e3 * (time.perf_counter() - since_s))
    return sorted(times_ms), 1e6 * (time.process_time() - before_s) / n_keys


async def run(folder: Path, n_keys: int) -> None:
    async with relay_row(folder, stock_bytes=STOCK_BYTES) as row, row.client("alpha") as master:
        direct_ms = direct_us = 0.0
        for slave, n_links in SLAVES.items():
            await ask(master, slave, 5)
            times_ms, cpu_us = await ask(master, slave, n_keys)
            middle_ms, late_ms = times_ms[n_keys // 2], times_ms[int(0.99 * n_keys)]
            direct_ms, direct_us = direct_ms or middle_ms, direct_us or cpu_us
            print(
                f"{n_links} links: median {middle_ms:5.1f} ms ({middle_ms / direct_ms:.1f} of 1), "
                f"99 % {late_ms:5.1f} ms, CPU of all {cpu_us:6.0f} us ({cpu_us / direct_us:4.1f})"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=100, help="for each distance")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(WARNING))
    with tempfile.TemporaryDirectory(prefix="qkdd-hops-") as name:
        trio.run(run, Path(name), options.keys)
    return 0


if __name__ == "__main__":
    sys.exit(main())
