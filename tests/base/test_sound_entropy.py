"""Tested randomness: nothing twice, nothing left behind, nothing at all after a failure."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import EntropyFailed
from qkdd.base.health import START_UP_SAMPLES
from qkdd.base.sound_entropy import POOL_BYTES, SoundEntropy


class Tape:
    """A source that remembers what it gave."""

    def __init__(self) -> None:
        self.given = b""
        self.stuck = False

    def __call__(self, n_bytes: int) -> bytes:
        drawn = bytes(n_bytes) if self.stuck else os.urandom(n_bytes)
        self.given += drawn
        return drawn


@given(st.lists(st.integers(0, 3 * POOL_BYTES), max_size=20))
def test_every_byte_is_handed_out_once_and_was_tested(sizes: list[int]) -> None:
    tape = Tape()
    entropy = SoundEntropy(tape, "tape")
    after_start_up = len(tape.given)
    assert after_start_up == START_UP_SAMPLES
    pieces = [entropy(size) for size in sizes]
    assert [len(piece) for piece in pieces] == sizes
    places = [tape.given.find(piece, after_start_up) for piece in pieces if len(piece) >= 16]
    assert -1 not in places
    spans = sorted(
        (place, place + len(piece))
        for place, piece in zip(places, (p for p in pieces if len(p) >= 16), strict=True)
    )
    for (_, stop), (start, _) in zip(spans, spans[1:], strict=False):  # noqa: RUF007
        assert stop <= start


def test_a_source_that_is_stuck_at_start_is_never_used() -> None:
    tape = Tape()
    tape.stuck = True
    with pytest.raises(EntropyFailed, match="tape: 4096 equal samples"):
        SoundEntropy(tape, "tape")


def test_after_a_failure_not_even_what_lay_ready_is_given() -> None:
    tape = Tape()
    entropy = SoundEntropy(tape, "tape")
    entropy(16)
    tape.stuck = True
    with pytest.raises(EntropyFailed, match="it is stuck or broken"):
        entropy(POOL_BYTES + 1)
    tape.stuck = False
    with pytest.raises(EntropyFailed, match="it is stuck or broken"):
        entropy(16)
    assert entropy.failure is not None


def test_what_was_handed_out_is_not_kept() -> None:
    entropy = SoundEntropy(os.urandom, "the system")
    taken = entropy(32)
    assert taken not in bytes(entropy._pool)
    assert len(entropy._pool) == POOL_BYTES - 32


def test_threads_never_get_the_same_bytes() -> None:
    entropy = SoundEntropy(os.urandom, "the system")
    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda _: entropy(24), range(4_000)))
    assert len(set(pieces)) == len(pieces)
