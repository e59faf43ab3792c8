"""Two sources mixed: nothing without both, nothing twice, and each alone hides the other."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import EntropyFailed
from qkdd.base.health import START_UP_SAMPLES
from qkdd.base.mixed_entropy import MixedEntropy

ENOUGH = 128
"""Bytes of noise that make a new key at 4 bits each."""


def fed(system=os.urandom) -> MixedEntropy:
    mixed = MixedEntropy(system, "diode", 4.0)
    mixed.begin()
    mixed.feed(os.urandom(START_UP_SAMPLES))
    mixed.feed(os.urandom(ENOUGH))
    return mixed


def test_nothing_is_given_before_start_up_test_and_first_key() -> None:
    mixed = MixedEntropy(os.urandom, "diode", 4.0)
    with pytest.raises(EntropyFailed, match="diode: its start-up test is not done"):
        mixed(16)
    mixed.begin()
    mixed.feed(os.urandom(START_UP_SAMPLES))
    with pytest.raises(EntropyFailed, match="start-up test is not done"):
        mixed(16)
    mixed.feed(os.urandom(ENOUGH - 1))
    with pytest.raises(EntropyFailed, match="start-up test is not done"):
        mixed(16)
    mixed.feed(os.urandom(1))
    assert len(mixed(16)) == 16


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=8))
def test_lengths_are_as_asked_and_nothing_comes_twice(sizes: list[int]) -> None:
    mixed = fed(system=bytes)  # zeros: what comes is the generator's own stream
    pieces = [mixed(size) for size in sizes]
    assert [len(piece) for piece in pieces] == sizes
    long = [piece[:16] for piece in pieces if len(piece) >= 16]
    assert len(set(long)) == len(long)


def test_without_the_noise_source_the_systems_bytes_still_hide_the_output() -> None:
    system = iter([b"\x11" * 32, b"\x22" * 32])
    mixed = fed(system=lambda n: next(system))
    twin_key = bytes(mixed._key.reveal())
    first = mixed(32)
    again = MixedEntropy(bytes, "diode", 4.0)
    again._key.reveal()[:] = twin_key
    again._failure = None
    stream = again(32)
    assert bytes(a ^ b for a, b in zip(first, stream, strict=True)) == b"\x11" * 32


def test_the_key_that_made_a_stream_is_gone_with_it() -> None:
    mixed = fed()
    before = bytes(mixed._key.reveal())
    mixed(64)
    after = bytes(mixed._key.reveal())
    assert before != after
    mixed.feed(os.urandom(ENOUGH))
    assert bytes(mixed._key.reveal()) != after


def test_a_stuck_source_stops_it_until_a_new_start_up_test() -> None:
    mixed = fed()
    mixed(16)
    with pytest.raises(EntropyFailed, match="stuck"):
        mixed.feed(b"\x01" + bytes(512))
    with pytest.raises(EntropyFailed, match="diode: 512 equal samples"):
        mixed(16)
    mixed.begin()
    with pytest.raises(EntropyFailed, match="512 equal samples"):
        mixed(16)
    mixed.feed(os.urandom(START_UP_SAMPLES))
    mixed.feed(os.urandom(ENOUGH))
    assert len(mixed(16)) == 16


def test_a_source_that_is_gone_stops_it_too() -> None:
    mixed = fed()
    mixed.lost("no noise for 5 s")
    assert mixed.failure == "entropy source diode: no noise for 5 s"
    with pytest.raises(EntropyFailed, match="no noise for 5 s"):
        mixed(1)


def test_a_broken_system_generator_is_not_hidden_by_the_noise() -> None:
    def broken(n_bytes: int) -> bytes:
        raise EntropyFailed("entropy source the system: stuck")

    with pytest.raises(EntropyFailed, match="the system: stuck"):
        fed(system=broken)(16)
