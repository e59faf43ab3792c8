#!/usr/bin/env python3
"""One archive with all that an air-gapped relay host needs: run where there is a network.

Makes the wheel of this checkout with its compiled kernels, collects the wheel of every
dependency, and pins each by its hash. `install.sh` in the archive does the rest on the relay host:
docs/operating.md, "Install without a network".
"""

import argparse
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ("qkdd", "drivers", "setup.py", "pyproject.toml", "README.md", "LICENSE")
BESIDE = {
    "systemd": [
        "qkdd@.service",
        "lanes.conf",
        "qkdd.sysusers",
        "alerts.yml",
        "grafana-board.json",
    ],
    "configs/pair": ["relay-a.toml", "relay-b.toml"],
    "docs": ["operating.md", "security.md", "protocol.md", "trunk.md", "encoder-protocol.md"],
}
OLDEST_GLIBC = (2, 28)
"""Of Debian 10: for less there is no wheel of cryptography."""
OLD = ("*.so", "__pycache__")


class CannotBundle(Exception):
    """What is missing, and what to do about it."""


def main(arguments: Sequence[str] | None = None) -> None:
    asked = parser().parse_args(arguments)
    try:
        archive = bundle(asked.out.resolve(), asked.lock, tuple(asked.glibc))
    except (CannotBundle, OSError) as error:
        sys.exit(f"bundle: {error}")
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
    print(f"sha256 {sha256(archive)}")
    print("Compare this sum on the relay host before anything in the archive is run.")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, default=Path("dist"), help="folder (default: dist)")
    made.add_argument(
        "--lock",
        type=Path,
        help="requirements.txt of an earlier archive: the very same dependencies again",
    )
    made.add_argument(
        "--glibc",
        type=glibc,
        default=OLDEST_GLIBC,
        metavar="X.Y",
        help=f"of the relay host, or older (default: {dotted(OLDEST_GLIBC)})",
    )
    return made


def glibc(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"2\.(\d{1,3})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no version of glibc, as 2.36")
    return 2, int(match[1])


def bundle(out: Path, lock: Path | None, host_glibc: tuple[int, int]) -> Path:
    """Make the archive in the folder ``out``; return its path."""
    check_machine()
    known = None if lock is None else read_lock(lock)
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = os.uname().machine
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Path(scratch, "wheels")
        ours = own_wheel(Path(scratch), wheels, machine, host_glibc)
        collect(wheels, ours, known, machine, host_glibc)
        version = ours.name.split("-")[1]
        folder = Path(scratch, f"qkdd-{version}-{python}-{machine}")
        lay_out(folder, wheels, machine, host_glibc)
        out.mkdir(parents=True, exist_ok=True)
        return pack(folder, out / f"{folder.name}.tar")


def check_machine() -> None:
    for tool in ("cc", "objdump"):
        if shutil.which(tool) is None:
            raise CannotBundle(f"no {tool}: the kernels are compiled here; apt install gcc")
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        raise CannotBundle("no Python.h: apt install python3-dev")


def own_wheel(scratch: Path, wheels: Path, machine: str, host_glibc: tuple[int, int]) -> Path:
    """Build this checkout's wheel from clean files, and name it for the glibc it needs."""
    pip("wheel", "--no-deps", "--wheel-dir", wheels, copy_source(scratch / "source"))
    (wheel,) = wheels.glob("qkdd-*.whl")
    expected = sorted(
        f"{package}/kernels/native/{file.stem}"
        for package in ("qkdd", "drivers")
        for file in (ROOT / package / "kernels").glob("*.c")
    )
    check_kernels(wheel, expected)
    needed = needed_glibc(wheel, scratch / "opened")
    if needed > host_glibc:
        raise CannotBundle(
            f"the kernels made here need glibc {dotted(needed)}, the host has "
            f"{dotted(host_glibc)}: build where glibc is older, or say --glibc"
        )
    # A platform tag that pip checks: on a host too old, it refuses in place of failing at run time.
    tag = f"manylinux_{host_glibc[0]}_{host_glibc[1]}_{machine}"
    return retag(wheel, tag)


def copy_source(folder: Path) -> Path:
    """Copy what a build reads: setuptools would take up what lies in build/ from before."""
    folder.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*OLD))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def check_kernels(wheel: Path, expected: Iterable[str]) -> None:
    """Refuse a wheel that would run on NumPy twins."""
    with zipfile.ZipFile(wheel) as opened:
        made = {name.split(".")[0] for name in opened.namelist() if name.endswith(".so")}
    if missing := sorted(set(expected) - made):
        raise CannotBundle(f"not compiled: {', '.join(missing)}")


def needed_glibc(wheel: Path, opened: Path) -> tuple[int, int]:
    """Find the newest symbol version that a kernel asks of the C library."""
    with zipfile.ZipFile(wheel) as archive:
        kernels = [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(opened, kernels)
    text = run("objdump", "-p", *[opened / name for name in kernels])
    libraries = set(re.findall(r"NEEDED\s+(\S+)", text))
    if strange := libraries - {"libc.so.6", "libm.so.6", "libpthread.so.0"}:
        raise CannotBundle(f"the kernels need {', '.join(sorted(strange))}, not only glibc")
    versions = re.findall(r"\bGLIBC_(\d+)\.(\d+)", text)
    return max((int(major), int(minor)) for major, minor in versions)


def retag(wheel: Path, platform: str) -> Path:
    """Name the platform in the wheel's file name and in its WHEEL, as both must say the same."""
    *head, _ = wheel.name.removesuffix(".whl").split("-")
    renamed = wheel.with_name("-".join([*head, platform]) + ".whl")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(renamed, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith(".dist-info/WHEEL"):
                before = content
                content = re.sub(rb"(Tag: \S+-)linux_\w+", rb"\1" + platform.encode(), content)
                marked = content
            elif item.filename.endswith(".dist-info/RECORD"):
                content = record(content, before, marked)
            new.writestr(item, content)
    wheel.unlink()
    return renamed


def record(text: bytes, before: bytes, after: bytes) -> bytes:
    """Put the changed WHEEL's digest and size in the place of the old ones."""
    old = f"{record_digest(before)},{len(before)}".encode()
    assert text.count(old) == 1, "RECORD comes behind WHEEL, and names it once"
    return text.replace(old, f"{record_digest(after)},{len(after)}".encode())


def record_digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def read_lock(lock: Path) -> str:
    """Read the pins of an earlier archive, without qkdd's own; one must be there of each
    dependency, also of those that have come since."""
    pinned = lock.read_text()
    known = re.sub(r"(?m)^qkdd==.*\n", "", pinned)
    if known == pinned or "--hash=sha256:" not in known:
        raise CannotBundle(f"{lock} is no requirements.txt of an earlier archive")
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    locked = {plain_name(line.split("==")[0]) for line in known.splitlines()}
    for one in wanted:
        if plain_name(re.split(r"[<>=!~ \[;]", one)[0]) not in locked:
            raise CannotBundle(f"{lock} lacks {one}: make the archive without --lock once")
    return known


def collect(
    wheels: Path, ours: Path, lock: str | None, machine: str, host_glibc: tuple[int, int]
) -> None:
    """Fetch the dependencies' wheels and pip's own: the host needs no pip."""
    words: list[str | Path] = ["--only-binary", ":all:", "--dest", wheels]
    for minor in range(host_glibc[1], 4, -1):
        words += ["--platform", f"manylinux_2_{minor}_{machine}"]
    words += ["--platform", f"manylinux2014_{machine}"]
    if lock is None:
        pip("download", *words, ours, "pip")
        return
    pins = wheels.parent / "pins.txt"
    pins.write_text(lock)
    pip("download", *words, "--require-hashes", "--no-deps", "-r", pins)
    pip("download", *words, "--no-deps", "pip")


def plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def lay_out(folder: Path, wheels: Path, machine: str, host_glibc: tuple[int, int]) -> None:
    """Put everything in its place in the folder that becomes the archive."""
    folder.mkdir()
    wheels.rename(folder / "wheels")
    shutil.copy(ROOT / "systemd/install.sh", folder)
    shutil.copy(ROOT / "LICENSE", folder)
    for place, names in BESIDE.items():
        (folder / place).mkdir(parents=True)
        for name in names:
            shutil.copy(ROOT / place / name, folder / place)
    (folder / "requirements.txt").write_text(requirements(folder / "wheels"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "needs").write_text(
        f"python={version}\nmachine={machine}\nglibc={dotted(host_glibc)}\nsource={commit()}\n"
    )
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    lines = [f"{sha256(one)}  {one.relative_to(folder)}\n" for one in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def requirements(wheels: Path) -> str:
    """Pin every wheel by version and hash, as pip --require-hashes wants it."""
    lines = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if name != "pip":
            lines.append(f"{plain_name(name)}=={version} --hash=sha256:{sha256(wheel)}\n")
    return "".join(lines)


def commit() -> str:
    """Name the commit that was built, and whether the files were its own."""
    try:
        known = run("git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12")
    except (CannotBundle, FileNotFoundError):
        return "unknown"
    return known.strip()


def pack(folder: Path, archive: Path) -> Path:
    """Write the archive in one order and without this machine's names: same files, same bytes."""

    def plain(item: tarfile.TarInfo) -> tarfile.TarInfo:
        item.uid = item.gid = 0
        item.uname = item.gname = "root"
        item.mtime = 0
        item.mode = 0o755 if item.isdir() or item.name.endswith("install.sh") else 0o644
        return item

    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            name = Path(folder.name, path.relative_to(folder))
            tar.add(path, str(name), recursive=False, filter=plain)
    return part.rename(archive)


def pip(*words: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip().splitlines()
        shown = next((line for line in reversed(told) if "ERROR" in line.upper()), told[-1:])
        raise CannotBundle(f"{Path(words[0]).name} {words[1]}: {shown or done.returncode}")
    return done.stdout


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


if __name__ == "__main__":
    main()
