"""Scratch memory: as much as is asked for, and the same again."""

import numpy as np

from qkdd.base.scratch import Scratch


def test_memory_is_used_again_and_grows_when_more_is_asked_for() -> None:
    scratch = Scratch()
    small = scratch.room(3)
    assert (small.shape, small.dtype) == ((3,), np.int64)
    assert np.shares_memory(scratch.room(2), small)
    large = scratch.room(5)
    assert large.shape == (5,)
    assert np.shares_memory(scratch.room(3), large)


def test_released_memory_is_not_used_again() -> None:
    scratch = Scratch()
    before = scratch.room(4)
    scratch.release()
    assert not np.shares_memory(scratch.room(4), before)
