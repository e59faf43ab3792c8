"""Counts that contradict themselves never reach the proof."""

import pytest

from qkdd.base.counts import DecoyCounts


@pytest.mark.parametrize(
    "fields",
    [
        {"key": (-1, 0, 0)},
        {"test": (0, 0, -1)},
        {"test_errors": (2, 0, 0)},
        {"test_errors": (-1, 0, 0)},
        {"key_errors": (0, 8, 0)},
    ],
)
def test_impossible_counts_are_refused(fields) -> None:
    honest = {"key": (9, 7, 5), "test": (1, 1, 1), "test_errors": (1, 0, 0)}
    with pytest.raises(ValueError, match=r"negative|errors in"):
        DecoyCounts(**honest | fields)


def test_sums_and_qber_are_over_all_intensities() -> None:
    counts = DecoyCounts(key=(9, 7, 5), test=(10, 5, 5), test_errors=(1, 0, 1))
    assert (counts.n_key, counts.n_test, counts.qber_test) == (21, 20, 0.1)
    assert DecoyCounts(key=(0, 0, 0), test=(0, 0, 0), test_errors=(0, 0, 0)).qber_test == 0.0
