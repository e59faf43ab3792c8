"""The choice of a pulse, against a second reading of docs/encoder-protocol.md, on every backend."""

import math
import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.choices import (
    ChoiceSource,
    bases_of,
    bits_of,
    calibration_states,
    intensities_of,
    state_code,
)
from qkdd.base.light import Basis, Intensities, Intensity
from qkdd.base.secret import Secret
from qkdd.kernels import choices as kernel

aes256 = runpy.run_path(str(Path(__file__).with_name("fips197.py")))["aes256"]

INTENSITIES = Intensities()


@pytest.fixture(params=kernel.backends(), autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    kernel.force(request.param)
    yield request.param
    kernel.force(None)


def source(seed: bytes, intensities: Intensities = INTENSITIES) -> ChoiceSource:
    return ChoiceSource(Secret.from_bytes(seed), intensities)


def state_by_the_book(seed: bytes, pulse: int, intensities: Intensities) -> int:
    block = aes256(seed, (pulse // 4).to_bytes(16, "little"))
    word = int.from_bytes(block[4 * (pulse % 4) :][:4], "little")
    basis = Basis.KEY if (word >> 1) & 0x7FFF < intensities.key_threshold else Basis.TEST
    if word >> 16 < intensities.signal_threshold:
        intensity = Intensity.SIGNAL
    elif word >> 16 < intensities.signal_threshold + intensities.weak_threshold:
        intensity = Intensity.WEAK
    else:
        intensity = Intensity.VACUUM
    return state_code(basis, word & 1, intensity)


def test_the_book_is_read_right() -> None:
    # FIPS 197, appendix C.3
    key, text = bytes(range(32)), bytes.fromhex("00112233445566778899aabbccddeeff")
    assert aes256(key, text).hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_first_pulses_of_the_zero_seed() -> None:
    # AES-256 of the zero block under the zero key is dc95c078 a2408989 ad48a214 92842087 (NIST
    # AESAVS, GFSbox/KeySbox family; GCM specification test case 13). By hand: words 78c095dc,
    # 898940a2, 14a248ad, 87208492; thresholds 27525 (key), 42598 and 42598 + 19005 (intensity).
    # bit = 0, 0, 1, 0; (w >> 1) & 7fff = 4aee, 2051, 2456, 4249, all below 27525: key;
    # w >> 16 = 30912, 35209, 5282, 34592, all below 42598: signal.
    assert source(bytes(32)).states(np.arange(4)).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("pulse", [0, 1, 2, 3, 4, 1023, 2**32 - 1, 2**32, 2**40 + 7, 2**63 - 1])
def test_a_pulse_is_chosen_as_the_protocol_says(pulse: int) -> None:
    seed = bytes(range(7, 39))
    got = source(seed).states(np.array([pulse], np.int64))
    assert got.tolist() == [state_by_the_book(seed, pulse, INTENSITIES)]


def test_every_state_appears_as_the_protocol_says() -> None:
    even = Intensities(
        signal_probability=0.4, weak_probability=0.3, key_basis_probability=0.5, vacuum_mu=0.01
    )
    seed, pulses = b"qkdd" * 8, np.arange(60, 180)
    expected = [state_by_the_book(seed, int(pulse), even) for pulse in pulses]
    assert set(expected) == set(range(12))
    assert source(seed, even).states(pulses).tolist() == expected


@given(
    pulses=st.lists(st.integers(0, 2**32 - 1), max_size=70),
    seed=st.binary(min_size=32, max_size=32),
)
def test_order_grouping_and_width_of_the_numbers_do_not_matter(
    pulses: list[int], seed: bytes
) -> None:
    choices = source(seed)
    narrow = choices.states(np.array(pulses, np.uint32))
    one_by_one = [int(choices.states(np.array([pulse], np.int64))[0]) for pulse in pulses]
    assert narrow.tolist() == one_by_one


def test_backends_agree_on_strided_and_long_arrays(backend: str) -> None:
    pulses = np.random.default_rng(1).integers(0, 2**40, 200_003)[::2]
    choices = source(bytes(range(32)))
    got = choices.states(pulses)
    kernel.force(kernel.TWIN)
    assert np.array_equal(got, choices.states(pulses))


@pytest.mark.parametrize("key", [0, 1, 2**15 - 1, 2**15])
@pytest.mark.parametrize(
    ("signal", "weak"), [(0, 0), (0, 2**16), (2**16, 0), (1, 2), (2**16 - 1, 1)]
)
def test_backends_agree_at_the_ends_of_the_thresholds(
    backend: str, key: int, signal: int, weak: int
) -> None:
    pulses = np.random.default_rng(3).integers(0, 2**40, 333)
    found = []
    for name in (backend, kernel.TWIN):
        kernel.force(name)
        found.append(
            kernel.lookup_states(
                memoryview(bytes(range(32))),
                pulses,
                key_threshold=key,
                signal_threshold=signal,
                weak_threshold=weak,
            ).tolist()
        )
    assert found[0] == found[1]


def test_frequencies_are_the_thresholds_within_5_sigma() -> None:
    n = 400_000
    states = source(b"\x5a" * 32).states(np.arange(n))
    for seen, p in (
        ((bases_of(states) == Basis.KEY).sum(), INTENSITIES.key_threshold / 2**15),
        ((intensities_of(states) == Intensity.WEAK).sum(), INTENSITIES.probabilities[1]),
        ((intensities_of(states) == Intensity.VACUUM).sum(), INTENSITIES.probabilities[2]),
        (bits_of(states).sum(), 0.5),
    ):
        assert abs(int(seen) - n * p) < 5 * (n * p * (1 - p)) ** 0.5


def test_a_wiped_seed_answers_nothing() -> None:
    choices = source(bytes(32))
    choices.wipe()
    with pytest.raises(RuntimeError, match="wiped"):
        choices.states(np.arange(1))


def test_a_pulse_before_the_first_is_the_callers_bug() -> None:
    with pytest.raises(ValueError, match="before the first"):
        source(bytes(32)).states(np.array([3, -1]))


def test_a_short_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ChoiceSource(Secret(31), INTENSITIES)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of"):
        kernel.force("abacus")


def test_calibration_pulses_are_signals_of_either_basis_alike() -> None:
    states = calibration_states(bytes(range(32)))(np.arange(100_000))
    assert (intensities_of(states) == Intensity.SIGNAL).all()
    n_test = int((bases_of(states) == Basis.TEST).sum())
    assert abs(n_test - 50_000) < 5 * math.sqrt(25_000)
    n_one = int(bits_of(states).sum())
    assert abs(n_one - 50_000) < 5 * math.sqrt(25_000)
