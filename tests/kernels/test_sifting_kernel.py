"""The sifting kernel: every variant gives the twin's answer, to the bit, and its errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.kernels import sifting as kernel

VARIANTS = kernel.backends()
SIZES = st.one_of(st.integers(0, 200), st.sampled_from([63, 64, 65, 127, 128, 4096, 5000]))


each_variant = pytest.mark.parametrize("variant", VARIANTS)


def both(variant: str, function, *arguments):
    """Return what a variant and the twin say, an error by its words."""
    said = []
    for name in (variant, kernel.TWIN):
        kernel.force(name)
        try:
            said.append(function(*arguments))
        except ValueError as error:
            said.append(str(error))
        finally:
            kernel.force(None)
    return said


def packed(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits, bitorder="little")


def key(planes: kernel.KeyPlanes) -> tuple:
    return planes.n_bits, [plane.tolist() for plane in planes.planes], planes.counts


@each_variant
@given(SIZES, st.integers(0, 2**32 - 1))
def test_detectors_are_split_into_bases_and_bits(variant: str, n: int, seed: int) -> None:
    detectors = np.random.default_rng(seed).integers(0, 4, n).astype(np.uint8)
    for bases, bits in both(variant, kernel.split_detectors, detectors):
        assert bases.tolist() == packed(detectors >> 1).tolist()
        assert bits.tolist() == packed(detectors & 1).tolist()


@each_variant
@given(SIZES, st.integers(0, 2**32 - 1))
def test_alice_finds_what_the_twin_finds(variant: str, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = (rng.integers(0, 4, n) | rng.integers(0, 3, n) << 2).astype(np.uint8)
    bases = packed(rng.integers(0, 2, n).astype(np.uint8))
    fast, twin = both(variant, kernel.sift_alice, states, bases)
    for name in ("kept", "weak", "vacuum", "test_bits", "test"):
        assert getattr(fast, name) == getattr(twin, name), name
    assert key(fast.key) == key(twin.key)


@each_variant
@given(SIZES, st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_bob_finds_what_the_twin_finds(variant: str, n: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    bases, bits = rng.integers(0, 2, (2, n)).astype(np.uint8)
    kept = rng.random(n) < share
    intensities = rng.integers(0, 3, np.count_nonzero(kept)).astype(np.uint8)
    test_bits = rng.integers(0, 2, np.count_nonzero(kept & (bases == 1))).astype(np.uint8)
    fast, twin = both(
        variant, kernel.sift_bob, packed(bases), packed(bits), n, packed(kept),
        packed(intensities & 1), packed(intensities >> 1), packed(test_bits),
    )  # fmt: skip
    assert (fast.test, fast.wrong, fast.n_both) == (twin.test, twin.wrong, 0)
    assert key(fast.key) == key(twin.key)


@each_variant
def test_alice_and_bob_agree_on_a_channel_without_errors(variant: str) -> None:
    rng = np.random.default_rng(1)
    states = (rng.integers(0, 4, 10_000) | rng.integers(0, 3, 10_000) << 2).astype(np.uint8)
    bases = packed(rng.integers(0, 2, states.size).astype(np.uint8))
    alice, _ = both(variant, kernel.sift_alice, states, bases)
    fields = (np.frombuffer(part, np.uint8) for part in
              (alice.kept, alice.weak, alice.vacuum, alice.test_bits))  # fmt: skip
    bob, _ = both(variant, kernel.sift_bob, bases, packed(states & 1), states.size, *fields)
    assert key(bob.key) == key(alice.key)
    assert (bob.test, bob.wrong) == (alice.test, (0, 0, 0))


@each_variant
def test_a_pulse_that_is_weak_and_vacuum_is_told(variant: str) -> None:
    ones = np.array([0b1111], np.uint8)
    none = np.empty(0, np.uint8)
    for said in both(
        variant, kernel.sift_bob, np.zeros(1, np.uint8), ones, 4, ones,
        np.array([0b0110], np.uint8), np.array([0b0011], np.uint8), none,
    ):  # fmt: skip
        assert said.n_both == 1
