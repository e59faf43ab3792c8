"""Make docs/distillation.md's tables and pictures again: ``python -m benchmarks.distillation``.

Writes the SVG files in docs/distillation/, and between the marks ``<!-- NAME -->`` and
``<!-- end NAME -->`` of the document the tables of that name. Counts and rates are the same on
every machine; CPU times are this one's. ``--only NAME`` makes one part. Half a minute of CPU time.
"""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bars import bar_plot
from benchmarks.cascade import METHODS, Measured, measure
from benchmarks.distil import SIMULATOR, misalignment_for, totals
from benchmarks.distil import measure as measure_stages
from benchmarks.keyrate import PROOFS, Link
from benchmarks.reconcile import limit
from benchmarks.river import ALICE, BOB
from qkdd.amplify.settings import ProofSettings
from qkdd.cli.optimise.model import Measured as MeasuredLink
from qkdd.cli.optimise.search import Space, best_of, longest_block_s
from qkdd.cli.optimise.svg import Axis, Curve, line_plot

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = DOCS / "distillation.md"
PICTURES = DOCS / "distillation"

QBERS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.105)
FRAMES = 32
FIBRE_DB_PER_KM, PATCHING_DB, RECEIVER_DB = 0.22, 1.0, 3.0
DISTANCES_KM = tuple(range(10, 191, 20))


@dataclass(frozen=True)
class Published:
    """A key rate that somebody else measured on fibre, and what differs from a link here."""

    name: str
    km: float
    kbit_s: float
    differs: str


PUBLISHED = (
    Published("Li 2023", 10.0, 115_800.0, "detectors of 8 pixels"),
    Published("Grünenfelder 2023", 10.0, 64_000.0, "detector of 14 pixels"),
    Published("Grünenfelder 2023", 102.4, 3_000.0, "detector of 14 pixels, other fibre"),
    Published("Boaron 2018", 251.7, 4.9, "fibre of 0.17 dB/km, blocks of 0.2 h"),
)
"""All at 2.5 GHz. Li, Grünenfelder: abstracts of arXiv:2307.02364 and arXiv:2210.16126. Boaron: PRL
121, 190502 (2018)."""

SNSPD = MeasuredLink(
    loss_db=0.0,
    efficiency=0.8,
    dark_hz=100.0,
    recovery_ps=30_000,
    jitter_ps=50.0,
    tick_ps=2_000,
    misalignment=0.01,
)
CLOCKS = {
    "100 MHz": Space(SNSPD, ProofSettings(), 100_000_000, 16.0, 27.0, None, False, 1e9),
    "1.25 GHz": Space(
        replace(SNSPD, tick_ps=13), ProofSettings(), 1_250_000_000, 12.0, 27.0, None, False, 1e7
    ),
    "2.5 GHz": Space(
        replace(SNSPD, tick_ps=13), ProofSettings(), 2_500_000_000, 6.0, 27.0, None, False, 1e7
    ),
}
"""The links of the picture: the two fast ones behind a tagger of 13 ps and 1e7 clicks a second."""


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def disclosure() -> dict[str, str]:
    """f by QBER for each method, against the limit of a one-way code of one frame."""
    results: dict[str, list[Measured]] = {
        name: [measure(qber, FRAMES, settings, 1) for qber in QBERS]
        for name, settings in METHODS.items()
    }
    rows = [
        [
            f"{qber:.1%}",
            f"{limit(qber):.3f}",
            *(f"{results[name][at].f_one_way:.3f}" for name in METHODS),
            *(f"{results[name][at].f_both_ways:.3f}" for name in METHODS),
            *(str(results[name][at].round_trips) for name in METHODS),
        ]
        for at, qber in enumerate(QBERS)
    ]
    heads = ["QBER", "limit"]
    heads += [f"{name}, {what}" for what in ("one way", "both ways", "trips") for name in METHODS]
    curves = [Curve("limit of a code of 65,536 bits", [(100 * q, limit(q)) for q in QBERS])]
    curves += [
        Curve(
            f"{name}, one way", [(100 * q, m.f_one_way) for q, m in zip(QBERS, found, strict=True)]
        )
        for name, found in results.items()
    ]
    picture = line_plot(
        "Disclosed bits over the Shannon limit", Axis("QBER, %"), Axis("f", from_zero=False), curves
    )
    (PICTURES / "disclosure.svg").write_text(picture)
    return {"disclosure": table(heads, rows)}


def distance() -> dict[str, str]:
    """Key rate over distance, settings chosen anew at each, beside what others measured."""
    curves, rates = [], {}
    for name, space in CLOCKS.items():
        points = [(km, best_rate(space, km)) for km in DISTANCES_KM]
        curves.append(Curve(f"here, {name}", points))
    for one in PUBLISHED:
        rates[one] = best_rate(CLOCKS["2.5 GHz"], one.km)
    for name in dict.fromkeys(one.name for one in PUBLISHED):
        dots = [(one.km, one.kbit_s) for one in PUBLISHED if one.name == name]
        curves.append(Curve(name, dots, dots=True))
    picture = line_plot(
        "Secret key rate over distance", Axis("fibre, km"), Axis("kbit/s", log=True), curves
    )
    (PICTURES / "distance.svg").write_text(picture)
    rows = [
        [one.name, f"{one.km:g}", f"{one.kbit_s:g}", f"{rates[one]:.3g}", one.differs]
        for one in PUBLISHED
    ]
    heads = ["who", "km", "published, kbit/s", "here at 2.5 GHz, kbit/s", "what differs there"]
    here = [
        [f"{km}", *(f"{dict(curve.points)[km]:.4g}" for curve in curves[: len(CLOCKS)])]
        for km in DISTANCES_KM
    ]
    return {
        "published": table(heads, rows),
        "distance": table(["km", *(f"{name}, kbit/s" for name in CLOCKS)], here),
    }


def best_rate(space: Space, km: float) -> float:
    loss_db = FIBRE_DB_PER_KM * km + PATCHING_DB + RECEIVER_DB
    block_s = longest_block_s(space.pulse_rate_hz, space.block_s)
    best = best_of(
        replace(space, measured=replace(space.measured, loss_db=loss_db), block_s=block_s)
    )
    assert best is not None
    return best.expected.length.n_out / best.expected.seconds / 1e3


def bounds() -> dict[str, str]:
    """Key of each proof, from the same counts."""
    rows = []
    for name, link, block_s in (
        ("default link, 2 s", Link(), 2.0),
        ("default link, 16 s", Link(), 16.0),
        ("1.25 GHz, 67 km, 12 s", fast_link(67.0), 12.0),
        ("1.25 GHz, 100 km, 12 s", fast_link(100.0), 12.0),
    ):
        lengths = [link.length(block_s, proof).raw / block_s / 1e3 for proof in PROOFS.values()]
        rows.append([name, *(f"{rate:.1f}" if rate > 0 else "-" for rate in lengths)])
    return {"bounds": table(["kbit/s", *PROOFS], rows)}


def fast_link(km: float) -> Link:
    return Link(pulse_rate_hz=1.25e9, loss_db=FIBRE_DB_PER_KM * km + 4.0, gate_s=0.32e-9)


def stages() -> dict[str, str]:
    """CPU time of every stage of both ends and of the simulator."""
    rows, columns = {}, []
    for qber in (0.01, 0.02):
        result = measure_stages(8.0, 1, misalignment_for(qber), seed=1)
        columns.append(f"ns per click, QBER {qber:.0%}")
        for name, spent in (*result["ns_per_tag"].items(), *totals(result).items()):
            rows.setdefault(name, []).append(spent)
        last = result
    bars = [(name, ns) for name, ns in last["ns_per_tag"].items() if ns >= 0.1]
    (PICTURES / "cpu.svg").write_text(bar_plot("CPU time at QBER 2 %, ns per click", bars))
    order = [name for name in rows if name not in (BOB, ALICE, SIMULATOR)]
    order += [SIMULATOR, BOB, ALICE]
    body = [
        [f"**{name}, all**" if name in (SIMULATOR, BOB, ALICE) else name]
        + [f"{ns:.1f}" for ns in rows[name]]
        for name in order
    ]
    return {"cpu": table(["stage", *columns], body)}


PARTS: dict[str, Callable[[], dict[str, str]]] = {
    "disclosure": disclosure,
    "distance": distance,
    "bounds": bounds,
    "stages": stages,
}


def put(text: str, name: str, content: str) -> str:
    """Replace what stands between a table's marks.

    Raises
    ------
    ValueError
        If the document has no such marks.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    found = re.search(re.escape(begin) + ".*?" + re.escape(end), text, re.DOTALL)
    if found is None:
        raise ValueError(f"{DOCUMENT} has no place for the table {name!r}")
    return text[: found.start()] + begin + "\n" + content + "\n" + end + text[found.end() :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    only = parser.parse_args().only
    PICTURES.mkdir(exist_ok=True)
    for part, make in PARTS.items():
        if only in (None, part):
            for name, content in make().items():
                DOCUMENT.write_text(put(DOCUMENT.read_text(), name, content))
                print(f"{name}:\n{content}", flush=True)


if __name__ == "__main__":
    main()
