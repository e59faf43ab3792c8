"""The C build, and nothing else: every setting of the project is in pyproject.toml.

Each ``<package>/kernels/<name>.c`` with ``<name>.h`` beside it (the cffi declarations) becomes
the extension module ``<package>.kernels.native.<name>``. Where no C compiler or no Python.h is
found the extensions are left out and the NumPy twins serve; a C *error* still fails the build.
"""

import hashlib
import os
import shutil
import sysconfig
from pathlib import Path

from cffi import FFI
from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
PACKAGES = ("qkdd", "drivers")


def kernel_extension(package: str, source: Path):
    """One cffi API-mode extension; a digest of its C text is baked in as ``source_digest``."""
    declarations = source.with_suffix(".h").read_text()
    digest = hashlib.sha256(source.read_bytes() + declarations.encode()).hexdigest()
    ffi = FFI()
    ffi.cdef(declarations + "\nextern const char source_digest[];\n")
    ffi.set_source(
        f"{package}.kernels.native.{source.stem}",
        f'{source.read_text()}\nconst char source_digest[] = "{digest}";\n',
        extra_compile_args=[
            "-O3",
            "-ffp-contract=off",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
        ],
    )
    return ffi.distutils_extension(tmpdir="build/cffi", verbose=False)


def can_compile() -> bool:
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return shutil.which(compiler) is not None and header.exists()


class BuildKernels(build_ext):
    """Leaves the kernels out, and says so, only where nothing could compile them."""

    def run(self) -> None:
        if not can_compile():
            self.warn("no C compiler or no Python.h: the slower NumPy twins will serve")
            self.extensions = []
        super().run()


only = set(filter(None, os.environ.get("QKDD_KERNELS", "").split(",")))
setup(
    ext_modules=[
        kernel_extension(package, source)
        for package in PACKAGES
        for source in sorted((ROOT / package / "kernels").glob("*.c"))
        if not only or source.stem in only
    ],
    cmdclass={"build_ext": BuildKernels},
)
