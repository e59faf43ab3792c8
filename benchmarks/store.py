"""Cycles of the key store per second: reserve, hold, deliver, fetch, confirm, between two ends.

Prints the rate by the size of the group commit, and as a limit of the same run the rate of bare
synced commits of the same disk (one row each), of which a cycle needs four in a group of 1.
Both ends run in this one process, so a relay, which is one end, does about twice as many.

    python -m benchmarks.store [SECONDS]
"""

import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from qkdd.base.ids import LinkId, NodeId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.store import KeyStore

LINK = LinkId("a-b")
MASTER, SLAVE = SaeId("master"), SaeId("slave")


def pair(folder: Path) -> tuple[KeyStore, KeyStore]:
    """Two stores that have agreed."""
    psk = os.urandom(64 * 1024)
    stores = []
    for name, role in (("alice", "alice"), ("bob", "bob")):
        store = KeyStore.open(
            folder / f"{name}.db", Secret.from_bytes(os.urandom(32)), NodeId(name), os.urandom
        )
        store.install_psk(LINK, "alice" if role == "alice" else "bob", Secret.from_bytes(psk))
        stores.append(store)
    alice, bob = stores
    marks = alice.auth_marks(LINK), bob.auth_marks(LINK)
    states = alice.begin_session(LINK, marks[1]), bob.begin_session(LINK, marks[0])
    (a,), (b,) = alice.receive(LINK, states[1], 0), bob.receive(LINK, states[0], 0)
    alice.receive(LINK, b, 0)
    bob.receive(LINK, a, 0)
    return alice, bob


def stock(alice: KeyStore, bob: KeyStore, n_bytes: int) -> float:
    """Distil one block at both ends; return the seconds that one end took."""
    key = os.urandom(n_bytes)
    number = alice.next_block_no(LINK)
    begin = time.perf_counter()
    words = [
        s.prepare_block(LINK, number, Secret.from_bytes(key), n_bits=8 * n_bytes, auth_bytes=4096)
        for s in (alice, bob)
    ]
    (live,) = alice.receive(LINK, words[1][0], 0)
    (also,) = bob.receive(LINK, words[0][0], 0)
    elapsed_s = (time.perf_counter() - begin) / 2
    alice.receive(LINK, also, 0)
    bob.receive(LINK, live, 0)
    return elapsed_s


def cycle(alice: KeyStore, bob: KeyStore, group: int) -> None:
    """``group`` requests of one key each, every step of all of them under one sync."""
    with alice.transaction():
        orders = [alice.reserve_keys(LINK, 1, 256, MASTER, [SLAVE], 0) for _ in range(group)]
    with bob.transaction():
        answers = [bob.receive(LINK, order.announcement, 0)[0] for order in orders]
    with alice.transaction():
        for answer in answers:
            alice.receive(LINK, answer, 0)
        for order in orders:
            alice.deliver_to_master(LINK, [order.records[0].key_id])
        told = alice.confirmations(LINK)
    assert told is not None
    with bob.transaction():
        for order in orders:
            bob.fetch_keys([order.records[0].key_id], SLAVE, MASTER)
        (settled,) = bob.receive(LINK, told, 0)
    alice.receive(LINK, settled, 0)


def bare_commits_per_s(folder: Path, seconds: float) -> float:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (x BLOB)")
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        connection.execute("INSERT INTO t VALUES (zeroblob(32))")
        count += 1
    connection.close()
    return count / (time.perf_counter() - begin)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        bare = bare_commits_per_s(folder, seconds)
        print(f"bare synced commits of this disk: {bare:.0f}/s")
        alice, bob = pair(folder)
        elapsed_s = stock(alice, bob, 1 << 20)
        print(f"a block of 1 MiB of key: {1e3 * elapsed_s:.0f} ms at each end")
        for _ in range(3):
            stock(alice, bob, 1 << 20)
        for group in (1, 16, 64):
            begin, count = time.perf_counter(), 0
            while time.perf_counter() - begin < seconds:
                cycle(alice, bob, group)
                count += group
            rate = count / (time.perf_counter() - begin)
            print(f"group of {group:2}: {rate:6.0f} cycles/s, {rate / bare:.2f} of bare commits")
        alice.close()
        bob.close()


if __name__ == "__main__":
    main()
