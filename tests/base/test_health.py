"""Health tests of entropy: cutoffs against published tables, and what they let pass and stop."""

import itertools
import os
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import EntropyFailed
from qkdd.base.health import (
    START_UP_SAMPLES,
    WINDOW_SAMPLES,
    HealthTests,
    proportion_cutoff,
    repetition_cutoff,
)

# jitterentropy-library, src/jitterentropy-health.c: cutoffs for H = 1/1 .. 1/15 bit a sample,
# windows of 512, alpha 2^-30 and 2^-60 (NIST's comment 10b heeded: the first sample counts itself).
JITTER_30 = (325, 422, 459, 477, 488, 494, 499, 502, 505, 507, 508, 509, 510, 511, 512)
JITTER_60 = (355, 447, 479, 494, 502, 507, 510, 512, 512, 512, 512, 512, 512, 512, 512)


@pytest.mark.parametrize(("alpha_log2", "table"), [(-30, JITTER_30), (-60, JITTER_60)])
def test_proportion_cutoffs_are_those_published(alpha_log2: int, table: tuple[int, ...]) -> None:
    mine = [proportion_cutoff(1 / oversampling, alpha_log2) for oversampling in range(1, 16)]
    assert mine == list(table)


def test_repetition_cutoff_is_the_standards_formula() -> None:
    # SP 800-90B, 4.4.1: with alpha = 2^-30 and H = 7.3 bits a sample, C = 1 + ceil(4.1) = 6.
    assert repetition_cutoff(7.3, -30) == 6
    assert repetition_cutoff(1.0, -20) == 21


def naive_run(samples: bytes) -> int:
    longest = run = 1
    for before, after in itertools.pairwise(samples):
        run = run + 1 if before == after else 1
        longest = max(longest, run)
    return longest


def naive_count(samples: bytes) -> int:
    windows = [samples[at : at + WINDOW_SAMPLES] for at in range(0, len(samples), WINDOW_SAMPLES)]
    return max(window.count(window[0]) for window in windows)


@given(
    seed=st.integers(0, 2**32),
    n_values=st.sampled_from([1, 2, 3, 8, 256]),
    n_samples=st.integers(1, 4 * WINDOW_SAMPLES),
    min_entropy=st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0]),
    cuts=st.lists(st.integers(0, 4 * WINDOW_SAMPLES), max_size=6),
)
def test_verdict_is_the_plain_definitions_however_the_samples_are_cut(
    seed: int, n_values: int, n_samples: int, min_entropy: float, cuts: list[int]
) -> None:
    samples = bytes(random.Random(seed).choices(range(n_values), k=n_samples))
    bad = naive_run(samples) >= repetition_cutoff(min_entropy) or naive_count(
        samples
    ) >= proportion_cutoff(min_entropy)
    tests = HealthTests("dice", min_entropy)
    bounds = sorted({0, n_samples, *(cut for cut in cuts if cut < n_samples)})
    try:
        for start, stop in itertools.pairwise(bounds):
            tests.take(samples[start:stop])
    except EntropyFailed:
        assert bad
        assert tests.failure is not None
    else:
        assert not bad
        assert tests.n_samples == n_samples


def test_a_source_that_failed_stays_failed() -> None:
    tests = HealthTests("dice", 4.0)
    with pytest.raises(EntropyFailed, match=r"64 equal samples in a row, limit 10 .*stuck"):
        tests.take(bytes(64))
    assert not tests.passed_start_up
    with pytest.raises(EntropyFailed, match="stuck"):
        tests.take(os.urandom(START_UP_SAMPLES))


def test_one_bit_that_is_stuck_is_no_run_but_lost_entropy() -> None:
    samples = np.random.default_rng(1).integers(0, 4, 1 << 10)
    tests = HealthTests("dice", 4.0)
    with pytest.raises(EntropyFailed, match=r"limit 78 \(adaptive proportion test\)"):
        tests.take(samples.astype(np.uint8).tobytes())


def test_a_good_source_passes_start_up_and_goes_on() -> None:
    tests = HealthTests("the system", 4.0)
    assert not tests.passed_start_up
    for _ in range(64):
        tests.take(os.urandom(1 << 14))
    assert tests.passed_start_up


@pytest.mark.parametrize("bits", [0.0, -1.0, 8.1])
def test_an_entropy_that_no_byte_has_is_refused(bits: float) -> None:
    with pytest.raises(ValueError, match="must be over 0 to 8"):
        HealthTests("dice", bits)
