"""A clock for tests in which a worker thread is busy: it jumps only after real idleness."""

import pytest
import trio.testing


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0.2)
