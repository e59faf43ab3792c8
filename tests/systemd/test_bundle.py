"""The archive for hosts without a network: what is in it, and what is refused while it is made."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.systemd.bundler import ROOT, bundle

KERNEL = "qkdd/kernels/native/gaps"


def small_wheel(folder: Path) -> Path:
    """A wheel of two files and a record of the kind that setuptools writes."""
    tag = b"Wheel-Version: 1.0\nTag: cp311-cp311-linux_x86_64\n"
    names = {"qkdd/kernels/native/gaps.cpython-311-x86_64-linux-gnu.so": b"\x7fELF"}
    names["qkdd-1.dist-info/WHEEL"] = tag
    lines = [f"{name},{bundle.record_digest(text)},{len(text)}" for name, text in names.items()]
    names["qkdd-1.dist-info/RECORD"] = "\n".join([*lines, "qkdd-1.dist-info/RECORD,,"]).encode()
    path = folder / "qkdd-1-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in names.items():
            wheel.writestr(name, content)
    return path


def test_a_wheel_is_named_for_its_glibc_where_pip_looks_and_its_record_agrees(
    tmp_path: Path,
) -> None:
    renamed = bundle.retag(small_wheel(tmp_path), "manylinux_2_28_x86_64")
    assert [one.name for one in tmp_path.iterdir()] == [
        "qkdd-1-cp311-cp311-manylinux_2_28_x86_64.whl"
    ]
    with zipfile.ZipFile(renamed) as wheel:
        assert b"Tag: cp311-cp311-manylinux_2_28_x86_64\n" in wheel.read("qkdd-1.dist-info/WHEEL")
        for line in wheel.read("qkdd-1.dist-info/RECORD").decode().splitlines()[:-1]:
            name, digest, size = line.split(",")
            assert digest == bundle.record_digest(wheel.read(name))
            assert int(size) == len(wheel.read(name))


def test_a_wheel_without_one_of_its_kernels_is_refused_by_name(tmp_path: Path) -> None:
    wheel = small_wheel(tmp_path)
    bundle.check_kernels(wheel, [KERNEL])
    with pytest.raises(bundle.CannotBundle, match="not compiled: qkdd/kernels/native/ldpc"):
        bundle.check_kernels(wheel, [KERNEL, "qkdd/kernels/native/ldpc"])


def test_every_wheel_is_pinned_by_its_hash_but_pip_which_installs_them(tmp_path: Path) -> None:
    for name in ("pip-26.0-py3-none-any.whl", "typing_extensions-4.16-py3-none-any.whl"):
        (tmp_path / name).write_bytes(name.encode())
    digest = hashlib.sha256(b"typing_extensions-4.16-py3-none-any.whl").hexdigest()
    assert bundle.requirements(tmp_path) == f"typing-extensions==4.16 --hash=sha256:{digest}\n"


def test_a_lock_that_lacks_a_dependency_is_refused_by_name(tmp_path: Path) -> None:
    lines = (ROOT / "docs/decisions/0002-dependencies.md").read_text().split("To develop")[0]
    names = [line.split("|")[1].strip() for line in lines.splitlines() if line.startswith("| ")]
    pins = "".join(f"{name}==1 --hash=sha256:0\n" for name in names[1:])
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"{pins}qkdd==1 --hash=sha256:0\n")
    assert bundle.read_lock(lock) == pins
    lock.write_text(lock.read_text().replace("trio==", "tokyo=="))
    with pytest.raises(bundle.CannotBundle, match=r"requirements.txt lacks trio>="):
        bundle.read_lock(lock)
    lock.write_text("trio>=0.30\n")
    with pytest.raises(bundle.CannotBundle, match="of an earlier archive"):
        bundle.read_lock(lock)


def test_the_archive_holds_its_own_sums_and_is_the_same_bytes_twice(tmp_path: Path) -> None:
    sums = []
    for number in "12":
        folder = tmp_path / number
        (folder / "wheels").mkdir(parents=True)
        (folder / "wheels/qkdd-1-py3-none-any.whl").write_bytes(b"x")
        made = folder / "qkdd-1"
        bundle.lay_out(made, folder / "wheels", "x86_64", (2, 28))
        done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=made)
        assert done.returncode == 0
        listed = {line.split("  ")[1] for line in (made / "SHA256SUMS").read_text().splitlines()}
        there = {str(one.relative_to(made)) for one in made.rglob("*") if one.is_file()}
        assert there - listed == {"SHA256SUMS"}
        assert {"systemd/qkdd@.service", "install.sh", "docs/operating.md"} <= listed
        archive = bundle.pack(made, folder / "qkdd-1.tar")
        sums.append(bundle.sha256(archive))
        with tarfile.open(archive) as tar:
            modes = {item.name: item.mode for item in tar}
        assert modes["qkdd-1/install.sh"] == 0o755
        assert modes["qkdd-1/needs"] == 0o644
    assert sums[0] == sums[1]


@pytest.mark.parametrize("words", [("--glibc", "3"), ("--lock",), ("qkdd",)])
def test_wrong_usage_ends_with_2(words: tuple[str, ...]) -> None:
    program = [sys.executable, str(ROOT / "systemd/bundle.py")]
    assert subprocess.run([*program, *words], capture_output=True).returncode == 2


def test_a_lock_that_is_not_there_is_one_line_on_stderr_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "check_machine", lambda: None)
    with pytest.raises(SystemExit) as ended:
        bundle.main(["--lock", str(tmp_path / "no"), "--out", str(tmp_path / "out")])
    assert str(ended.value) == f"bundle: [Errno 2] No such file or directory: '{tmp_path}/no'"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: apt install gcc")
def test_the_wheel_runs_where_there_is_no_compiler(tmp_path: Path) -> None:
    """One kernel of thirteen is compiled: each is one file more of the same."""
    bundle.copy_source(tmp_path / "source")
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run(
        [sys.executable, "-c", build],
        env={**os.environ, "QKDD_KERNELS": "gaps"},
        cwd=tmp_path / "source",
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    bundle.check_kernels(wheel, [KERNEL])
    assert bundle.needed_glibc(wheel, tmp_path / "opened") <= bundle.OLDEST_GLIBC
    with zipfile.ZipFile(bundle.retag(wheel, f"manylinux_2_28_{os.uname().machine}")) as opened:
        opened.extractall(tmp_path / "site")
        assert "qkdd/reconcile/data/codes.npz" in opened.namelist()
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'site')!r}]\n"
        f"sys.path.append({sysconfig.get_path('platlib')!r})\n"
        "import qkdd, qkdd.reconcile.codes, drivers\n"
        "from qkdd.kernels import gaps\n"
        "print(qkdd.__file__, drivers.__file__, gaps.backend())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    site = tmp_path / "site"
    expected = f"{site}/qkdd/__init__.py {site}/drivers/__init__.py c\n"
    assert done.stdout == expected, done.stderr
