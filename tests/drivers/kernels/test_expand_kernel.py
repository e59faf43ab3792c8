"""The choice expansion against docs/encoder-protocol.md, computed here pulse by pulse."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels import expand

SEED = bytes(range(32))
THRESHOLDS = {"key_threshold": 27_525, "signal_threshold": 42_598, "weak_threshold": 19_005}


@pytest.fixture(params=expand.backends())
def served_by(request: pytest.FixtureRequest) -> Iterator[str]:
    expand.force(request.param)
    yield request.param
    expand.force(None)


def word_by_the_book(seed: bytes, i: int) -> int:
    aes = Cipher(algorithms.AES(seed), modes.ECB()).encryptor()
    block = aes.update((i // 4).to_bytes(16, "little"))
    return int.from_bytes(block[4 * (i % 4) : 4 * (i % 4) + 4], "little")


def state_by_the_book(
    seed: bytes, i: int, key_threshold: int, signal_threshold: int, weak_threshold: int
) -> int:
    w = word_by_the_book(seed, i)
    bit = w & 1
    basis = 0 if ((w >> 1) & 0x7FFF) < key_threshold else 1
    if (w >> 16) < signal_threshold:
        intensity = 0
    elif (w >> 16) < signal_threshold + weak_threshold:
        intensity = 1
    else:
        intensity = 2
    return bit | basis << 1 | intensity << 2


def test_aes_is_the_one_of_fips_197_c3() -> None:
    """FIPS 197, appendix C.3 has this key: its block 0 through the reference cipher is AES-256."""
    aes = Cipher(algorithms.AES(SEED), modes.ECB()).encryptor()
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert aes.update(plain).hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_states_are_those_of_the_protocol_document(served_by: str) -> None:
    indices = [*range(70), 10**6 + 1, 2**32 - 1, 2**32, 2**40 + 3, 2**63 - 1]
    states = expand.expand_states(SEED, np.array(indices), **THRESHOLDS)
    assert states.tolist() == [state_by_the_book(SEED, i, **THRESHOLDS) for i in indices]


def test_states_of_the_first_pulses_never_change(served_by: str) -> None:
    """SHA-256 of the first 4096 states under seed 00 01 .. 1f, made by a loop over the document's
    formula with cryptography 50 (AES-ECB of whole counters), not by this kernel."""
    states = expand.expand_states(SEED, np.arange(4096), **THRESHOLDS)
    golden = "8a0b913cfbb1c3ee79ba54bcdb7d418629e9b3a4598e9369690b6439035a1ad6"
    assert hashlib.sha256(states.tobytes()).hexdigest() == golden


@pytest.mark.parametrize(("first", "n_blocks"), [(0, 0), (3, 1), (2**32 - 20, 53), (2**62, 16)])
def test_dice_are_blocks_in_counter_mode(served_by: str, first: int, n_blocks: int) -> None:
    aes = Cipher(algorithms.AES(SEED), modes.ECB()).encryptor()
    counters = b"".join(n.to_bytes(16, "little") for n in range(first, first + n_blocks))
    words = expand.dice(SEED, first=first, n_blocks=n_blocks)
    assert words.astype("<u8").tobytes() == aes.update(counters)


def test_a_key_of_dice_has_32_bytes(served_by: str) -> None:
    with pytest.raises(ValueError, match="not 31"):
        expand.dice(SEED[:31], first=0, n_blocks=1)


@pytest.mark.parametrize("signal_first", [False, True])
def test_a_word_that_meets_a_threshold_is_above_it(served_by: str, signal_first: bool) -> None:
    for i in range(24):
        word = word_by_the_book(SEED, i)
        thresholds = {
            "key_threshold": word >> 1 & 0x7FFF,
            "signal_threshold": word >> 16 if signal_first else 0,
            "weak_threshold": 0 if signal_first else word >> 16,
        }
        states = expand.expand_states(SEED, np.full(17, i), **thresholds)
        assert set(states.tolist()) == {word & 1 | 1 << 1 | 2 << 2}


@pytest.mark.parametrize(
    ("key_threshold", "signal_threshold", "weak_threshold"),
    [(0, 0, 0), (1 << 15, 1 << 16, 0), (1, 0, 1 << 16), (16_384, 30_000, 35_536)],
)
def test_extreme_thresholds_are_exact(
    served_by: str, key_threshold: int, signal_threshold: int, weak_threshold: int
) -> None:
    limits = (key_threshold, signal_threshold, weak_threshold)
    states = expand.expand_states(
        SEED,
        np.arange(64),
        key_threshold=key_threshold,
        signal_threshold=signal_threshold,
        weak_threshold=weak_threshold,
    )
    assert states.tolist() == [state_by_the_book(SEED, i, *limits) for i in range(64)]


@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(0, 2**63 - 1), max_size=40))
def test_every_backend_agrees_with_the_book(seed: bytes, indices: list[int]) -> None:
    expected = [state_by_the_book(seed, i, **THRESHOLDS) for i in indices]
    for name in expand.backends():
        expand.force(name)
        states = expand.expand_states(seed, np.array(indices, np.int64), **THRESHOLDS)
        assert states.tolist() == expected, name
    expand.force(None)


def test_choices_come_with_their_probabilities(served_by: str) -> None:
    """Counts of 400,000 pulses are within 5 sigma of the thresholds' probabilities."""
    n = 400_000
    states = expand.expand_states(SEED, np.arange(n), **THRESHOLDS)
    chances = {
        "bit": (states & 1 == 1, 0.5),
        "key": (states & 2 == 0, 27_525 / 2**15),
        "signal": (states >> 2 == 0, 42_598 / 2**16),
        "weak": (states >> 2 == 1, 19_005 / 2**16),
    }
    for name, (hits, p) in chances.items():
        assert abs(int(hits.sum()) - n * p) < 5 * (n * p * (1 - p)) ** 0.5, name


@pytest.mark.parametrize(
    ("seed", "indices", "thresholds"),
    [
        (bytes(31), [0], THRESHOLDS),
        (SEED, [-1], THRESHOLDS),
        (SEED, [0], THRESHOLDS | {"key_threshold": 2**15 + 1}),
        (SEED, [0], THRESHOLDS | {"weak_threshold": 2**16}),
    ],
)
def test_a_wrong_argument_is_refused(
    seed: bytes, indices: list[int], thresholds: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"seed|index|thresholds"):
        expand.expand_states(seed, np.array(indices), **thresholds)


def test_a_backend_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no backend"):
        expand.force("abacus")  # type: ignore[arg-type]
