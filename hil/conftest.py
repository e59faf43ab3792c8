"""The option that names a rig, and one test run for each instrument that it lists."""

from pathlib import Path

import pytest

from hil.rig import KINDS, read_rig


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rig", type=Path, help="TOML file that lists the instruments of a rig")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run ``test_<kind>`` once for each instrument of that kind."""
    for kind in KINDS:
        if kind not in metafunc.fixturenames:
            continue
        path = metafunc.config.getoption("--rig")
        if path is None:
            skip = pytest.mark.skip(reason="no rig given: pytest hil --rig FILE")
            metafunc.parametrize(kind, [pytest.param(None, marks=skip, id="no-rig")])
            continue
        found = [found for found in read_rig(path) if found.instrument.kind == kind]
        metafunc.parametrize(kind, found, ids=[f.instrument.resource for f in found])
