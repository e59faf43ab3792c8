"""CPU time per detected tag of every stage of a link, both ends and the simulator: the stage table.

    python -m benchmarks.distil [--seconds 16] [--blocks 2] [--qber 0.01] [--no-twins] [--json]

One process, no network: `benchmarks.river` runs the machines of the daemon on blocks of simulated
light at the default link (100 MHz, 50 km) and times every call in CPU time of its thread; a key
store of each end commits the keys, which must be equal (else exit status 1). The peers are measured
budgets of bare kernels (Bob 34, Alice 22, simulator 50 ns a tag at QBER 2 %; they leave out
messages, the key store and all that is Python), and in the same run the NumPy twins of the kernels.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.laboratory import SIMULATOR
from benchmarks.predicted import demo_setup, predict, with_ramp
from benchmarks.river import ALICE, BOB, LINK, Distilled, River
from benchmarks.store import pair
from drivers.kernels import clicks, expand, tdc1
from qkdd.kernels import assign, choices, ldpc, toeplitz
from qkdd.keys.messages import Message
from qkdd.keys.store import KeyStore

ANCHOR_NS = {BOB: 34.0, ALICE: 22.0, SIMULATOR: 50.0}
CLICK_HZ = 0.92e6
"""The default link's detected clicks, of which the share of a core is told."""
STAGES = (
    (SIMULATOR, "clicks"),
    (SIMULATOR, "words"),
    (BOB, "decode"),
    (BOB, "frames"),
    (BOB, "sift"),
    (BOB, "reconcile"),
    (BOB, "length"),
    (BOB, "amplify"),
    (BOB, "commit"),
    (BOB, "messages"),
    (ALICE, "sift"),
    (ALICE, "reconcile"),
    (ALICE, "length"),
    (ALICE, "amplify"),
    (ALICE, "commit"),
    (ALICE, "messages"),
)
FORCE: tuple[tuple[Callable[[Any], None], str], ...] = (
    (clicks.force, "numpy"),
    (expand.force, "numpy"),
    (tdc1.force, "numpy"),
    (assign.force, "numpy"),
    (choices.force, "numpy"),
    (ldpc.force, "numpy"),
    (toeplitz.force, "numpy"),
)
BACKENDS = {
    "clicks": clicks.backend,
    "expand": expand.backend,
    "tdc1": tdc1.backend,
    "assign": assign.backend,
    "choices": choices.backend,
    "ldpc": ldpc.backend,
    "toeplitz": toeplitz.backend,
}


Facts = dict[str, Any]


class Unequal(Exception):
    """The two ends hold different keys."""


@contextmanager
def numpy_twins() -> Iterator[None]:
    """Let the NumPy twin of every kernel serve."""
    for force, name in FORCE:
        force(name)
    try:
        yield
    finally:
        for force, _ in FORCE:
            force(tdc1.variants()[0] if force is tdc1.force else None)  # tdc1 wants a name


def misalignment_for(qber: float) -> float:
    """Misalignment at which the key basis shows ``qber``: double clicks and darks add to it."""
    low, high = 0.0, 0.5
    for _ in range(40):
        middle = (low + high) / 2
        shown = predict(demo_setup(misalignment=middle), 1_000_000).qber_key
        low, high = (middle, high) if shown < qber else (low, middle)
    return high


def commit(river: River, stores: tuple[KeyStore, KeyStore], block: Distilled) -> None:
    """Let both stores commit a block's keys, as two relays would."""
    if block.keys is None:
        return
    number = stores[0].next_block_no(LINK)
    words: deque[tuple[str, Message]] = deque()
    for end, store, key in zip((ALICE, BOB), stores, block.keys, strict=True):
        prepare = partial(
            store.prepare_block, n_bits=block.length.n_out, auth_bytes=block.auth_bytes
        )
        words += [(end, word) for word in river.watch(end, "commit", prepare, LINK, number, key)]
    while words:
        end, word = words.popleft()
        peer, store = (BOB, stores[1]) if end == ALICE else (ALICE, stores[0])
        said = river.wire.carry(end, word)
        answers = river.watch(peer, "commit", store.receive, LINK, said, 0)
        words += [(peer, answer) for answer in answers]


def measure(seconds: float, n_blocks: int, misalignment: float, *, seed: int) -> Facts:
    """Run blocks of ``seconds``; return ns a tag by stage, and what the blocks were like."""
    n_frames = round(seconds * 10)
    setup = with_ramp(demo_setup(misalignment=misalignment), n_frames)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        stores = pair(Path(folder))
        river = River(setup, seed=seed, entropy=os.urandom)
        begin_ns = time.process_time_ns()
        blocks = []
        for block in itertools.islice(river.blocks(), n_blocks):
            if block.keys is not None and block.keys[0] != block.keys[1]:
                raise Unequal(f"the keys of block {block.index} differ")
            commit(river, stores, block)
            blocks.append(block)
        spent_ns = time.process_time_ns() - begin_ns
        accounts = [store.account(LINK) for store in stores]
        if accounts[0] != accounts[1]:
            raise Unequal(f"the stores' accounts differ: {accounts[0]}, {accounts[1]}")
        for store in stores:
            store.close()
    ns = {f"{end} {stage}": spent / river.n_tags for (end, stage), spent in river.watch.ns.items()}
    hunt_ms = river.watch.ns[BOB, "hunt"] * 1e-6
    known = sum(river.watch.ns.values())
    return {
        "ns_per_tag": {f"{end} {stage}": ns.get(f"{end} {stage}", 0.0) for end, stage in STAGES},
        "unattributed_ns_per_tag": (spent_ns - known) / river.n_tags,
        "hunt_ms": hunt_ms,
        "n_tags": river.n_tags,
        "seconds": seconds,
        "blocks": [facts(block) for block in blocks],
        "wire_bytes_per_click": {
            end: n / sum(block.n_clicks for block in blocks)
            for end, n in river.wire.n_bytes.items()
        },
        "backends": {name: backend() for name, backend in BACKENDS.items()},
    }


def facts(block: Distilled) -> Facts:
    qber = block.qber_key
    return {
        "clicks": block.n_clicks,
        "sifted_bits": block.counts.n_key,
        "qber_key": qber,
        "qber_test": block.counts.qber_test,
        "f_both_ways": block.ledger.f_both_ways(qber),
        "secret_bits": block.length.n_out,
    }


def totals(result: Facts) -> dict[str, float]:
    ns = result["ns_per_tag"]
    return {
        end: sum(ns[f"{one} {stage}"] for one, stage in STAGES if one == end)
        for end in (SIMULATOR, BOB, ALICE)
    }


def show(native: Facts, twins: Facts | None) -> None:
    for name, result in (("kernels", native), ("twins", twins)):
        if result is not None:
            print(f"{name}: {', '.join(f'{k} {v}' for k, v in result['backends'].items())}")
            for block in result["blocks"]:
                print(
                    f"  block of {result['seconds']:g} s: {block['clicks']} clicks, "
                    f"{block['sifted_bits']} sifted, QBER {block['qber_key']:.4f} key "
                    f"{block['qber_test']:.4f} test, f {block['f_both_ways']:.4f}, "
                    f"{block['secret_bits']} secret bits, equal at both ends"
                )
    print(f"\n{'stage':22s} {'ns/tag':>8s} {'% of core':>9s} {'twin':>9s} {'ratio':>6s}")
    ends = totals(native)
    other = totals(twins) if twins else {}
    for end in (SIMULATOR, BOB, ALICE):
        for one, stage in STAGES:
            if one == end:
                key = f"{one} {stage}"
                line(key, native["ns_per_tag"][key], twins["ns_per_tag"][key] if twins else None)
        anchor = ANCHOR_NS[end]
        line(f"{end}, all", ends[end], other.get(end))
        print(f"{'':22s} {ends[end] / anchor:8.2f} of the anchor's {anchor:g} ns")
    line("whole link", sum(ends.values()), sum(other.values()) if other else None)
    print(
        f"\nfinding the run: {native['hunt_ms']:.0f} ms once (Bob); loop of this benchmark "
        f"{native['unattributed_ns_per_tag']:.1f} ns/tag (in no line above)"
    )
    sent = native["wire_bytes_per_click"]
    print(f"bytes said per click: Bob {sent[BOB]:.2f}, Alice {sent[ALICE]:.2f}")


def line(name: str, ns: float, twin: float | None) -> None:
    text = f"{name:22s} {ns:8.2f} {ns * CLICK_HZ * 1e-7:9.2f}"
    if twin:
        text += f" {twin:9.1f} {twin / ns if ns else 0.0:6.1f}"
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=16.0, help="of light in each block")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--twin-seconds", type=float, default=2.0)
    parser.add_argument("--no-twins", action="store_true")
    parser.add_argument("--qber", type=float, help="of the key basis, made by misalignment")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    misalignment = 0.01 if options.qber is None else misalignment_for(options.qber)
    try:
        native = measure(options.seconds, options.blocks, misalignment, seed=options.seed)
        twins = None
        if not options.no_twins:
            with numpy_twins():
                twins = measure(options.twin_seconds, 1, misalignment, seed=options.seed)
    except Unequal as unequal:
        sys.exit(f"FAILED: {unequal}")
    if options.json:
        print(json.dumps({"native": native, "twins": twins, "totals": totals(native)}))
    else:
        show(native, twins)


if __name__ == "__main__":
    main()
