"""A connected-to-be pair of stores for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keys.pair_of_stores import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.close()
