"""The long codes are the ones their name says, and a block of long and short frames ends equal."""

import hashlib
from importlib.resources import files
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from qkdd.reconcile import tight
from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.codes import FRAME_BITS, ROUNDS, Code, graph
from qkdd.reconcile.frames import batch_at, batches, cut
from qkdd.reconcile.settings import ReconcileSettings
from tests.reconcile.wire import run

TIGHT = ReconcileSettings(ldpc_point="tight")
LONG = tight.FRAME_BITS
ROWS, STARTS, LIMITS_PPM = tight._table()
SOME = ROWS[:: len(ROWS) // 3]


def test_the_name_of_the_family_has_the_digest_of_its_data() -> None:
    digest = hashlib.sha256()
    with np.load(files("qkdd.reconcile") / "data" / "tight.npz") as data:
        for name in sorted(data):
            digest.update(name.encode() + data[name].tobytes())
    assert tight.TIGHT_FAMILY.partition(":")[2] == digest.hexdigest()[:16]


def columns_of(code: Code) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each circulant of the rows that a frame begins with."""
    base = graph(code, 0, code.rows)
    return np.repeat(np.arange(base.n_rows), np.diff(base.row_start)), base.columns


@pytest.mark.parametrize("rows", SOME)
def test_light_columns_meet_in_no_cycle_of_4(rows: int) -> None:
    code = tight.code_from(rows)
    row, column = columns_of(code)
    shifts = code.shifts[: row.size]
    light = np.flatnonzero(np.bincount(column)[column] <= 3)
    light = light[np.argsort(column[light], kind="stable")]
    seen: set[tuple[int, int, int]] = set()
    for apart in (1, 2):
        for a, b in zip(light, light[apart:], strict=False):
            if column[a] == column[b]:
                gap = (int(row[a]), int(row[b]), int(shifts[a] - shifts[b]) % tight.Z)
                assert gap not in seen
                seen.add(gap)


@pytest.mark.parametrize("rows", SOME)
def test_rows_stand_in_a_band_and_are_alike_but_at_its_open_end(rows: int) -> None:
    row, column = columns_of(tight.code_from(rows))
    n_band = round(rows / 1.06)  # extra rows follow, that the code begins with, too
    band = row < n_band
    away = column[band] / tight.N_COLUMNS - row[band] / n_band
    assert np.abs(away).max() < 0.2
    widths = np.bincount(row)
    assert widths[n_band // 3 : n_band].max() <= 1.3 * widths[n_band // 3 : n_band].min()
    assert widths[0] < widths[n_band // 3 : n_band].min()
    assert np.bincount(column, minlength=tight.N_COLUMNS).min() >= 3
    reach = [np.ptp(column[row == extra]) for extra in range(n_band, rows)]
    assert max(reach) <= 0.26 * tight.N_COLUMNS


def test_every_start_has_the_rows_of_all_its_rounds() -> None:
    for low, high in zip(ROWS, [*ROWS[1:], STARTS[-1] + 1], strict=True):
        for first in (low, (low + high) // 2, high - 1):
            code = tight.code_from(first)
            assert code.rows == first
            assert code.rows_after(ROUNDS) < code.row_start.size


@pytest.mark.parametrize("rows", [ROWS[0], 640, ROWS[-1]])
def test_blind_rounds_reveal_an_eighth_more_and_begin_with_little(rows: int) -> None:
    parts = tight.round_rows(rows)
    assert len(parts) == ROUNDS
    assert min(parts) >= 1
    assert rows / 8 <= sum(parts) < rows / 8 + 1
    assert parts[0] == max(1, -(-rows // 400))


@pytest.mark.parametrize("rows", SOME)
def test_extra_rows_take_their_turns_at_their_place_in_the_band(rows: int) -> None:
    code = tight.code_from(rows)
    window = tight.window(graph(code, 0, code.rows_after(3)))
    assert np.array_equal(np.sort(window.order), np.arange(code.rows_after(3)))
    extra = np.flatnonzero(window.order >= round(rows / 1.06))
    gaps = np.diff(extra, prepend=0, append=window.order.size)
    assert gaps.max() < 5 * gaps.mean()
    band = window.order[window.order < round(rows / 1.06)]
    assert np.abs(band - np.arange(band.size)).max() < 0.2 * band.size
    assert rows / 3 < window.ahead <= window.order.size


@pytest.mark.parametrize("qber", [0.0, 0.005, 0.006, 0.01, 0.02, 0.05, 0.11, 0.3])
def test_a_frame_begins_with_just_the_rows_that_its_threshold_asks_for(qber: float) -> None:
    code = tight.code_for(qber)
    if 0.006 <= qber <= 0.11:
        assert code.threshold >= qber
        assert tight.code_from(code.rows - 1).threshold < qber
    else:
        assert code.rows == (STARTS[0] if qber < 0.006 else STARTS[-1])


def test_a_start_that_was_measured_is_chosen_up_to_its_own_limit() -> None:
    assert sorted(STARTS) == STARTS
    assert all(low < high for low, high in pairwise(LIMITS_PPM))
    for start, limit in zip(STARTS, LIMITS_PPM, strict=True):
        assert tight.code_for((limit - 0.5) * 1e-6).rows == start
    for start, limit in zip(STARTS[:-1], LIMITS_PPM[:-1], strict=True):
        assert tight.code_for((limit + 0.5) * 1e-6).rows == start + 1


def test_a_long_frame_begins_where_half_of_them_pass_and_higher_for_those_who_ask() -> None:
    (by_default,) = cut(LONG, 20_000, TIGHT)
    (higher,) = cut(LONG, 20_000, msgspec.structs.replace(TIGHT, spread=-5.0))
    assert by_default.code is tight.code_for(0.02)
    assert higher.code is tight.code_for(0.02 + 7 * (0.02 * 0.98 / LONG) ** 0.5)


def test_a_block_is_long_frames_then_short_ones_and_one_remainder() -> None:
    frames = cut(2 * LONG + 17 * FRAME_BITS // 2, 20_000, TIGHT)
    assert [frame.size for frame in frames] == [LONG] * 2 + [FRAME_BITS] * 8 + [FRAME_BITS // 2]
    assert [frame.start for frame in frames] == np.cumsum(
        [0, *(frame.size for frame in frames[:-1])]
    ).tolist()
    assert batches(frames) == (0, 1, 2)
    assert [len(batch_at(frames, first)) for first in batches(frames)] == [1, 1, 9]
    assert cut(LONG - 1, 20_000, TIGHT) == cut(LONG - 1, 20_000, ReconcileSettings())


@pytest.mark.parametrize(("qber", "estimate", "f_most"), [(0.03, 0.03, 1.12), (0.02, 0.0195, 1.16)])
def test_both_ends_hold_the_same_bits_for_fewer_parities(
    qber: float, estimate: float, f_most: float
) -> None:
    dice = np.random.default_rng(3)
    bits = dice.integers(0, 2, LONG + 5_000, np.uint8)
    wrong = bits ^ (dice.random(bits.size) < qber).astype(np.uint8)
    errors = int(np.count_nonzero(bits != wrong))
    alike = np.zeros(bits.size, np.uint8)
    alice = AliceReconciler(7, bits, alike, estimate, TIGHT, dice.bytes)
    bob = BobReconciler(7, wrong, alike, TIGHT)
    ours, theirs = run(alice, bob)
    assert ours.ok
    assert np.array_equal(bits, wrong)
    assert ours.key_errors == (errors, 0, 0)
    assert ours.ledger == theirs.ledger
    assert ours.ledger.lost == 0
    assert ours.ledger.f_both_ways(errors / bits.size) < f_most


def test_settings_name_the_family_and_the_point() -> None:
    assert TIGHT.correction == "ldpc tight"
    assert ReconcileSettings().correction == "ldpc fast"
    assert ReconcileSettings(method="cascade").correction == "cascade few-rounds"
    with pytest.raises(ValueError, match="tight_family"):
        ReconcileSettings(tight_family="other")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"ldpc_point": "slow"}, ReconcileSettings)
