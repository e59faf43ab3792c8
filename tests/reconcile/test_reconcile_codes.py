"""The codes are the ones their name says, without cycles of 4, and fine-grained enough."""

import hashlib
from importlib.resources import files
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from qkdd.reconcile.codes import (
    CODE_FAMILY,
    FRAME_BITS,
    N_COLUMNS,
    ROUNDS,
    Code,
    Z,
    code_for,
    family,
    graph,
)
from qkdd.reconcile.frames import BATCH_FRAMES, batches, cut, first_threshold
from qkdd.reconcile.ledger import Ledger, entropy
from qkdd.reconcile.settings import ReconcileSettings

CODES = family()


def test_the_name_of_the_family_has_the_digest_of_its_data() -> None:
    digest = hashlib.sha256()
    with np.load(files("qkdd.reconcile") / "data" / "codes.npz") as data:
        for name in sorted(data):
            digest.update(name.encode() + data[name].tobytes())
    assert CODE_FAMILY.partition(":")[2] == digest.hexdigest()[:16]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.rows)
def test_no_two_columns_meet_in_a_cycle_of_4(code: Code) -> None:
    whole = graph(code, 0, code.rows_after(ROUNDS))
    rows = np.repeat(np.arange(whole.n_rows), np.diff(whole.row_start))
    seen: set[tuple[int, int, int]] = set()
    for column in range(N_COLUMNS):
        mine = np.flatnonzero(whole.columns == column)
        for i, a in enumerate(mine):
            for b in mine[i + 1 :]:
                gap = (int(rows[a]), int(rows[b]), int(whole.shifts[a] - whole.shifts[b]) % Z)
                assert gap not in seen
                seen.add(gap)


@pytest.mark.parametrize("code", CODES[::12], ids=lambda code: code.rows)
def test_columns_of_degree_2_alone_make_no_code_word_below_9_bits(code: Code) -> None:
    base = graph(code, 0, code.rows)
    rows = np.repeat(np.arange(base.n_rows), np.diff(base.row_start))
    joined: dict[int, list[tuple[int, int, int]]] = {row: [] for row in range(code.rows)}
    for column in np.flatnonzero(np.bincount(base.columns) == 2).tolist():
        i, j = np.flatnonzero(base.columns == column).tolist()
        gap = int(base.shifts[i] - base.shifts[j]) % Z
        joined[int(rows[i])].append((int(rows[j]), gap, column))
        joined[int(rows[j])].append((int(rows[i]), -gap % Z, column))
    for start, edges in joined.items():
        for end in edges:
            # what 7 other columns reach from one check of a column is not its other check
            reached = {(row, gap) for row, gap, column in edges if (row, gap, column) != end}
            for _ in range(6):
                reached |= {
                    (row, (check + gap) % Z) for at, check in reached for row, gap, _ in joined[at]
                } - {(start, 0)}
            assert end[:2] not in reached


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.rows)
def test_every_bit_is_in_two_checks_or_more_and_rows_are_alike(code: Code) -> None:
    base = graph(code, 0, code.rows)
    assert np.bincount(base.columns, minlength=N_COLUMNS).min() >= 2
    widths = np.diff(base.row_start)
    assert widths.max() - widths.min() <= 2


def test_family_covers_03_to_11_percent_in_small_steps() -> None:
    rows = [code.rows for code in CODES]
    thresholds = [code.threshold for code in CODES]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] <= 0.003
    assert thresholds[-1] >= 0.11 * 1.05
    assert all(b - a <= 2 or b / a <= 1.05 for a, b in pairwise(rows))


@pytest.mark.parametrize("qber", [0.003, 0.01, 0.02, 0.05, 0.11])
def test_the_cheapest_code_that_serves_is_chosen(qber: float) -> None:
    chosen = code_for(qber)
    assert chosen.threshold >= qber
    below = [code for code in CODES if code.rows < chosen.rows]
    assert all(code.threshold < qber for code in below)


def test_more_caution_never_chooses_a_cheaper_code() -> None:
    for qber in (0.003, 0.01, 0.05):
        bold = first_threshold(qber, ReconcileSettings(margin=0.0, spread=2.0))
        shy = first_threshold(qber, ReconcileSettings(margin=0.1, spread=2.0))
        shyest = first_threshold(qber, ReconcileSettings(margin=0.1, spread=-1.0))
        assert bold < shy < shyest


def test_frames_cover_a_block_once_and_in_order() -> None:
    for n_bits in (0, 1, 5_000, FRAME_BITS, FRAME_BITS + 1, 40 * FRAME_BITS + 60_000):
        frames = cut(n_bits, 20_000, ReconcileSettings())
        assert sum(frame.size for frame in frames) == n_bits
        position = 0
        for frame in frames:
            assert frame.start == position
            position += frame.size
        firsts = list(batches(frames))
        assert firsts == list(range(0, max(1, len(frames)), BATCH_FRAMES))


def test_a_remainder_is_disclosed_exactly_when_that_is_cheaper() -> None:
    for n_bits in range(200, FRAME_BITS, 3_000):
        (frame,) = cut(n_bits, 20_000, ReconcileSettings())
        if frame.code is not None:
            assert frame.code.rows * Z + 32 < n_bits
    assert cut(1_000, 20_000, ReconcileSettings())[0].code is None
    assert cut(30_000, 20_000, ReconcileSettings())[0].code is not None


def test_settings_know_only_this_family() -> None:
    with pytest.raises(ValueError, match="code_family"):
        ReconcileSettings(code_family="other")
    with pytest.raises(msgspec.ValidationError):
        msgspec.toml.decode(f"max_rounds = {ROUNDS + 1}", type=ReconcileSettings)


def test_ledger_adds_up() -> None:
    ledger = Ledger(
        n_bits=1000,
        syndrome=1,
        check=2,
        revealed=4,
        lost=8,
        remainder=16,
        block_hash=32,
        verdict=64,
        error_counts=128,
    )
    assert ledger.one_way_bits == 63
    assert ledger.both_ways_bits == 255
    assert ledger.f_both_ways(0.11) == pytest.approx(255 / (1000 * entropy(0.11)))
    assert entropy(0.5) == 1
    assert Ledger(n_bits=0).f_one_way(0.01) == float("inf")
