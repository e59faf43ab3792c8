"""The house rules, run with every test run: types, lint, format, import contracts, kernels."""

import hashlib
import importlib
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent
KERNELS = sorted(
    source for package in ("qkdd", "drivers") for source in (ROOT / package / "kernels").glob("*.c")
)


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPTS / command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)],
    ids=lambda command: " ".join(command),
)
def test_house_rule_holds(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("qkdd/sift/planted.py", "import trio\n"),
        ("qkdd/network/planted.py", "import trio\n"),
        ("qkdd/network/planted.py", "import qkdd.config\n"),
        ("qkdd/base/planted.py", "from qkdd.sift import planted_target\n"),
        ("qkdd/net/planted.py", "import drivers.tags\n"),
        ("qkdd/daemon/planted.py", "import drivers.sim\n"),
        ("drivers/planted.py", "import qkdd.base.bits\n"),
        ("drivers/sim/planted.py", "import drivers.transport\n"),
        ("drivers/sim/planted.py", "import drivers.polarization\n"),
        ("drivers/sim/planted.py", "import drivers.detector\n"),
        ("drivers/sim/planted.py", "import drivers.powermeter\n"),
        ("drivers/sim/planted.py", "import drivers.entropy\n"),
        ("drivers/detector/planted.py", "import drivers.laser\n"),
        ("qkdd/frames/planted.py", "import drivers.powermeter\n"),
    ],
)
def test_a_planted_wrong_import_is_refused(tmp_path: Path, module: str, line: str) -> None:
    for tree in ("qkdd", "drivers"):
        shutil.copytree(
            ROOT / tree, tmp_path / tree, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "qkdd/sift/planted_target.py").write_text("")
    (tmp_path / module).write_text(line)
    done = run("lint-imports", "--no-cache", cwd=tmp_path)
    assert done.returncode != 0, done.stdout
    assert "planted" in done.stdout, done.stdout


@pytest.mark.parametrize("source", KERNELS, ids=lambda path: path.stem)
def test_kernel_is_built_from_this_source_wherever_a_compiler_is(source: Path) -> None:
    compiler = shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0])
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if compiler is None or not header.exists():
        pytest.skip("no C compiler here: the NumPy twins serve")
    package = source.parent.parent.name
    native = importlib.import_module(f"{package}.kernels.native.{source.stem}")
    text = source.read_bytes() + source.with_suffix(".h").read_bytes()
    baked = native.ffi.string(native.lib.source_digest).decode()
    assert baked == hashlib.sha256(text).hexdigest(), "stale kernel: pip install -e . again"
