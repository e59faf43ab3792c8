"""The installer for hosts without a network: switch, change back, refuse, remove; a toy qkdd."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pip
import pytest

from tests.systemd.bundler import ROOT, bundle

FORMS = "TWIN = 'numpy'\ndef kernel_backends():\n    return {'gaps': %r}\n"
PROGRAM = "import sys\ndef main():\n    print('toy', *sys.argv[1:])\n"


def toy_wheel(folder: Path, version: str, form: str) -> None:
    """A wheel of the name, the command and the kernels' room that the installer asks for."""
    info = f"qkdd-{version}.dist-info"
    files = {
        "qkdd/__init__.py": PROGRAM,
        "qkdd/daemon/__init__.py": "",
        "qkdd/daemon/kernels.py": FORMS % form,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: qkdd\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nqkdd = qkdd:main\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"qkdd-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


@pytest.fixture(scope="module")
def pip_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This environment's pip, packed as its wheel is: it runs from there. Compiled, to be quick."""
    path = tmp_path_factory.mktemp("pip") / "pip-0-py3-none-any.whl"
    with zipfile.PyZipFile(path, "w") as wheel:
        ours = Path(pip.__file__).parent
        wheel.writepy(str(ours))
        wheel.write(ours / "_vendor/certifi/cacert.pem", "pip/_vendor/certifi/cacert.pem")
    return path


class Host:
    """A host's root folder, and archives that are carried there."""

    def __init__(self, folder: Path, pip_wheel: Path) -> None:
        self.root, self.folder, self.pip_wheel = folder / "host", folder, pip_wheel
        self.link = self.root / "opt/qkdd"
        self.releases = self.root / "opt/qkdd-releases"

    def carry(self, version: str, *, form: str = "c") -> Path:
        wheels = self.folder / "wheels"
        wheels.mkdir()
        toy_wheel(wheels, version, form)
        shutil.copy(self.pip_wheel, wheels)
        archive = self.folder / f"archive-{version}-{form}"
        bundle.lay_out(archive, wheels, os.uname().machine, (2, 17))
        return archive / "install.sh"

    def run(self, script: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        places = [str(Path(sys.executable).parent), "/usr/bin", "/bin"]
        return subprocess.run(
            ["sh", str(script), *words],
            env={"PATH": ":".join(places), "DESTDIR": str(self.root)},
            capture_output=True,
            text=True,
        )

    def in_use(self) -> str:
        return os.readlink(self.link).removeprefix("qkdd-releases/").partition("-")[0]


@pytest.fixture
def host(tmp_path: Path, pip_wheel: Path) -> Host:
    return Host(tmp_path, pip_wheel)


def test_a_second_release_is_taken_and_given_back_and_older_ones_are_pruned(host: Host) -> None:
    for version in ("1.0", "2.0"):
        done = host.run(host.carry(version))
        assert done.returncode == 0, done
    assert host.in_use() == "2.0"
    assert not list(host.link.glob("lib/*/site-packages/pip"))
    program = subprocess.run([host.link / "bin/qkdd", "x"], capture_output=True, text=True)
    assert program.stdout == "toy x\n"
    unit = host.root / "etc/systemd/system/qkdd@.service"
    assert unit.read_text() == (ROOT / "systemd/qkdd@.service").read_text()
    ours = host.link / "install.sh"
    unit.write_text("of the newer release")
    assert host.run(ours, "rollback").returncode == 0
    assert host.in_use() == "1.0"
    assert unit.read_text() == (ROOT / "systemd/qkdd@.service").read_text()
    marks = [line.split("-")[0] for line in host.run(ours, "list").stdout.splitlines()]
    assert marks == ["* 1.0", "< 2.0"]
    (host.releases / "0.9-x").mkdir()
    (host.releases / "0.9-x/complete").touch()
    assert host.run(ours, "prune").stdout == "0.9-x removed\n"
    assert host.run(ours, "rollback").returncode == 0
    assert host.in_use() == "2.0"


def test_what_does_not_run_is_not_installed_and_uninstalling_leaves_what_is_not_ours(
    host: Host,
) -> None:
    assert host.run(host.carry("1.0")).returncode == 0
    slow = host.run(host.carry("2.0", form="numpy"))
    assert (slow.returncode, "kernels that do not load here: gaps" in slow.stderr) == (1, True)
    assert host.in_use() == "1.0"
    assert len(list(host.releases.iterdir())) == 1
    config = host.root / "etc/qkdd/relay-a.toml"
    config.write_text("x")
    assert host.run(host.link / "install.sh", "uninstall").returncode == 0
    left = [str(one.relative_to(host.root)) for one in host.root.rglob("*") if not one.is_dir()]
    assert left == ["etc/qkdd/relay-a.toml"]


@pytest.mark.parametrize(
    ("file", "said"), [("wheels/qkdd-3.0-py3-none-any.whl", "SHA256SUMS"), ("needs", "SHA256SUMS")]
)
def test_a_file_that_changed_on_the_way_is_refused(host: Host, file: str, said: str) -> None:
    script = host.carry("3.0")
    with (script.parent / file).open("ab") as changed:
        changed.write(b"\0")
    done = host.run(script)
    assert (done.returncode, said in done.stderr) == (1, True)
    assert not host.root.exists()


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ("python=3.2", "no python3.2 here"),
        ("machine=vax", "the archive for vax"),
        ("glibc=2.999", "the archive needs 2.999"),
    ],
)
def test_an_archive_for_another_host_is_refused_by_name(host: Host, need: str, said: str) -> None:
    script = host.carry("3.0")
    needs = script.parent / "needs"
    name = need.partition("=")[0]
    lines = [line for line in needs.read_text().splitlines() if not line.startswith(name)]
    needs.write_text("\n".join([*lines, need]) + "\n")
    sums = script.parent / "SHA256SUMS"
    kept = [line for line in sums.read_text().splitlines() if not line.endswith("  needs")]
    sums.write_text("\n".join([*kept, f"{bundle.sha256(needs)}  needs"]) + "\n")
    done = host.run(script)
    assert (done.returncode, said in done.stderr) == (1, True), done
    assert not host.root.exists()


def test_a_folder_of_another_installation_stays(host: Host) -> None:
    host.link.mkdir(parents=True)
    done = host.run(host.carry("1.0"))
    assert (done.returncode, "move it away first" in done.stderr) == (1, True)
    assert not host.releases.exists()


@pytest.mark.parametrize("words", [("upgrade",), ("list", "all"), ("--force",)])
def test_other_words_are_wrong_usage(host: Host, words: tuple[str, ...]) -> None:
    done = host.run(ROOT / "systemd/install.sh", *words)
    assert (done.returncode, "Exit status" in done.stderr) == (2, True)


def test_outside_an_archive_it_says_so(host: Host) -> None:
    shutil.copy(ROOT / "systemd/install.sh", host.folder)
    done = host.run(host.folder / "install.sh")
    assert (done.returncode, "no archive here" in done.stderr) == (1, True)
    assert (host.run(host.folder / "install.sh", "rollback")).returncode == 1
