"""What holds for every test."""

from pathlib import Path

import pytest
from hypothesis import settings

# A property is a claim about results; how long an example takes says how busy the machine is.
settings.register_profile("qkdd", deadline=None)
settings.load_profile("qkdd")

REAL_TIME = ("whole", "secrecy", "chaos")
"""Rooms whose tests start relays under light and wait for them in real time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two processes share the tests (``-n 2 --dist loadgroup``), relays have one to
    themselves: two of their tests at once would wait for each other's processors."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in REAL_TIME:
            item.add_marker(pytest.mark.xdist_group("relays"))
