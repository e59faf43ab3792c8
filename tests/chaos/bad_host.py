"""A host whose disk fails and whose wall clock steps, for one process (``faults.c``)."""

import errno
import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]
START = (
    "import os, sys; os.environ.update(LD_PRELOAD=sys.argv[1], QKDD_FAULTS=sys.argv[2]); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[3:]])"
)


def why_not() -> str | None:
    """Say why there are no such hosts here; None if there are."""
    return None if shutil.which(COMPILER) else f"no C compiler {COMPILER} here"


@dataclass(frozen=True, slots=True)
class BadHost:
    """Well at first; one fault at a time."""

    library: Path
    order: Path

    @classmethod
    def build(cls, folder: Path) -> "BadHost":
        folder.mkdir(exist_ok=True)
        library = folder / "faults.so"
        command = [COMPILER, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return cls(library, folder / "order")

    def python(self, *arguments: str) -> list[str]:
        """What to give to Python so that it runs ``arguments`` on this host."""
        return ["-c", START, str(self.library), str(self.order), *arguments]

    def writing_fails(self, number: int, part: str) -> None:
        self._order(f"write {number} {part}")

    def syncing_fails(self, part: str) -> None:
        self._order(f"sync {errno.EIO} {part}")

    def clock_is_ahead(self, seconds: int) -> None:
        self._order(f"clock {seconds} -")

    def recovers(self) -> None:
        self.order.unlink(missing_ok=True)

    def _order(self, text: str) -> None:
        """Give the order whole: whoever reads it never sees half."""
        fresh = self.order.with_suffix(".new")
        fresh.write_text(text + "\n")
        os.replace(fresh, self.order)
