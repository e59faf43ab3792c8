"""Intercept-resend against a running link, held to closed formulas block by block.

    python -m benchmarks.attack [--fraction 0.1] [--blocks 5] [--km 50] [--seed 1] [--json]

Runs ``qkdd demo`` twice as separate processes in real time, honest and attacked, until ``--blocks``
full-size blocks of each are distilled (4 minutes for 5 and 5), and reads every block's counts from
both relays' status. For each block it compares detections, the QBER of both bases and the length of
the secret key with what `benchmarks.predicted` expects of this installation under this attack.

z is (measured - predicted) / sigma. Sigma of a detection count is that of a Poisson number, sigma
of a QBER that of a binomial share of the predicted detections. The length is compared as the same
proof applied twice, to the measured and to the predicted counts, both times with the bits that this
block really disclosed, so that the efficiency of reconciliation cancels; its sigma is the standard
deviation of the proof's answers to 400 sets of counts drawn from the prediction. The measured
length must also be, to the bit, the proof's answer to the measured counts. Exit status 1 if any
|z| of a block or of all blocks together exceeds 5, or if there are too few blocks. A machine that
stalls for longer than the time tagger's FIFO holds (70 ms) loses clicks of every kind alike: they
show in the first three columns and in no other.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.comparison import COUNTS, NAMES, Compared, Judge, counts_of, shares
from benchmarks.daemon import ask
from benchmarks.predicted import Setup, demo_setup, predict
from qkdd.base.counts import DecoyCounts
from qkdd.cli.demo.files import ALICE, BOB
from qkdd.daemon.snapshot import BlockFacts
from qkdd.reconcile.settings import ReconcileSettings

SIGMAS = 5.0
POLL_S = 0.3
START_S = 12.0
"""From the demonstration's start to its first light, at most, on a busy machine."""


@dataclass
class Run:
    """What one demonstration showed."""

    blocks: dict[int, BlockFacts] = field(default_factory=dict)
    unequal: list[int] = field(default_factory=list)
    """Blocks of which the two relays tell different facts."""
    n_void: int = 0
    last_reason: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)


def watch(folder: Path, process: subprocess.Popen[bytes], run: Run) -> None:
    """Collect every block that both ends tell of, until the demonstration ends."""
    told: dict[str, dict[int, BlockFacts]] = {ALICE: {}, BOB: {}}
    while process.poll() is None:
        for relay, blocks in told.items():
            answer = ask(folder, relay)
            if answer is None:
                continue
            link = answer.snapshot.links[0]
            if link.last_block is not None:
                blocks[link.last_block.block_no] = link.last_block
            run.n_void = max(run.n_void, link.n_blocks_void)
            run.last_reason = link.reason or run.last_reason
        time.sleep(POLL_S)
    for number in sorted(told[ALICE].keys() & told[BOB].keys()):
        run.blocks[number] = told[ALICE][number]
        if told[ALICE][number] != told[BOB][number]:
            run.unequal.append(number)


def demonstrate(setup: Setup, options: argparse.Namespace) -> Run:
    """Run ``qkdd demo`` for as many full-size blocks as were asked for."""
    frame_s = setup.plan.frame_pulses / setup.plan.pulse_rate_hz
    ramp_s = [frames * frame_s for frames in setup.plan.ramp_frames]
    seconds = START_S + sum(ramp_s[:-1]) + ramp_s[-1] * (options.blocks + 0.5)
    command = [sys.executable, "-m", "qkdd.cli", "demo", "--json"]
    command += ["--seconds", f"{seconds:.0f}", "--km", str(options.km), "--seed", str(options.seed)]
    if setup.fraction:
        command += ["--attack", f"intercept-resend:{setup.fraction}"]
    run = Run()
    with tempfile.TemporaryDirectory(prefix="qkdd-attack-") as name:
        process = subprocess.Popen(
            [*command, "--dir", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        watch(Path(name), process, run)
        assert process.stdout is not None
        run.summary = json.loads(process.stdout.read() or b"{}")
    return run


def report(name: str, setup: Setup, run: Run, wanted: int) -> tuple[list[str], dict[str, Any]]:
    """Print a run's table; return what is wrong with it, and its numbers."""
    judge = Judge(setup)
    full_s = max(setup.plan.ramp_frames) * setup.plan.frame_pulses / setup.plan.pulse_rate_hz
    print(f"\n{name}: {len(run.blocks)} blocks, {run.n_void} void ({run.last_reason})")
    wrong = [f"{name}: the relays tell different facts of block {n}" for n in run.unequal]
    expected = predict(setup, 10**9)
    limit = ReconcileSettings().max_qber
    if expected.qber_test > limit and not run.blocks:
        print(f"  QBER {expected.qber_test:.3f} is over {limit}: no block is reconciled")
        return wrong if run.n_void else [*wrong, f"{name}: no block was refused"], {}
    blocks = list(run.blocks.values())
    n_full = sum(block.pulse_seconds >= full_s for block in blocks)
    if n_full < wanted:
        wrong.append(f"{name}: {n_full} full-size blocks of {wanted}: {run.summary.get('reason')}")
    if not blocks:
        return wrong, {}
    print(f"  {'block':>9s}" + "".join(f" {'z ' + one:>11s}" for one in NAMES), end="")
    print("  QBER key, test   secret bits, predicted +- sigma  worst of the 12 counts")
    rows = {f"{one.block_no} ({one.pulse_seconds:g} s)": judge.compare(one) for one in blocks}
    rows["all"] = judge.compare_all(blocks)
    for title, row in rows.items():
        worst, which = row.worst_count()
        print(f"  {title:>9s}" + "".join(f" {row.z(one):11.2f}" for one in NAMES), end="")
        print(
            f"  {row.measured['qber_key']:.5f} {row.measured['qber_test']:.5f}"
            f"  {row.measured['length']:11.0f} {row.predicted['length']:11.0f}"
            f" +-{row.sigma['length']:7.0f}  {worst:.2f} {which}"
        )
        all_z = {one: row.z(one) for one in NAMES} | {which: worst}
        wrong += [
            f"{name}, block {title}: z of {one} is {z:.2f}"
            for one, z in all_z.items()
            if abs(z) > SIGMAS
        ]
    judged = sorted(set(judge.wrong_lengths))
    wrong += [f"{name}: block {n} has not the length that its counts prove" for n in judged]
    return wrong, {title: numbers_of(row) for title, row in rows.items()}


def numbers_of(row: Compared) -> dict[str, Any]:
    """Measured, predicted and z of everything, for --json."""
    numbers: dict[str, Any] = {
        one: [row.measured[one], row.predicted[one], row.z(one)] for one in NAMES
    }
    for name in COUNTS:
        numbers[f"{name} by intensity"] = [getattr(row.counts, name), getattr(row.expected, name)]
    return numbers


def report_rise(
    options: argparse.Namespace, honest: DecoyCounts, attacked: DecoyCounts
) -> list[str]:
    """Print by how much the QBER rose, of all blocks together; return what is wrong with it."""
    before, after = (shares(counts, 0.0, 0.0) for counts in (honest, attacked))
    wrong = []
    for basis, n in (("key", "n_key"), ("test", "n_test")):
        q, risen = before[f"qber_{basis}"], after[f"qber_{basis}"]
        expected = options.fraction * (0.25 - q / 2)
        sigma = math.sqrt(
            q * (1 - q) / getattr(honest, n) + risen * (1 - risen) / getattr(attacked, n)
        )
        z = (risen - q - expected) / sigma
        print(
            f"QBER of the {basis} basis rises by {risen - q:.5f}; F (1/4 - q/2) = {expected:.5f} "
            f"+- {sigma:.5f}, z {z:.2f}"
        )
        if abs(z) > SIGMAS:
            wrong.append(f"z of the rise in the {basis} basis is {z:.2f}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fraction", type=float, default=0.1, help="of the pulses attacked")
    parser.add_argument("--blocks", type=int, default=5, help="full-size blocks of each run")
    parser.add_argument("--km", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    wrong: list[str] = []
    numbers: dict[str, Any] = {}
    rates: dict[str, DecoyCounts] = {}
    for name, fraction in (("honest", 0.0), ("attacked", options.fraction)):
        setup = demo_setup(options.km, fraction=fraction)
        run = demonstrate(setup, options)
        complaints, numbers[name] = report(name, setup, run, options.blocks)
        wrong += complaints
        if run.blocks:
            rates[name] = counts_of(*run.blocks.values())
    if len(rates) == 2:
        wrong += report_rise(options, rates["honest"], rates["attacked"])
    if options.json:
        options.json.write_text(json.dumps({"wrong": wrong, **numbers}))
    print(*(wrong or ["as predicted"]), sep=os.linesep)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
