"""Two hosts on this machine: network namespaces with a cable between them that can be cut.

Inside a user namespace of their own, so that no right is needed where the system allows that. A cut
is silent, as at a dead switch: frames go to a station that is not there, and no kernel is told.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ADDRESSES = ("10.77.0.1", "10.77.0.2")
STATIONS = ("02:00:00:00:77:01", "02:00:00:00:77:02")
NOBODY = "02:00:00:00:77:99"
NEEDED = ("unshare", "nsenter", "ip")
HOLD = ["sh", "-c", "echo ready; read line"]
"""Keeps a namespace until its standard input is closed."""


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace; ``holder`` lives in it."""

    number: int
    holder: int

    @property
    def address(self) -> str:
        return ADDRESSES[self.number]

    def enter(self) -> list[str]:
        """What to put in front of a command that shall run on this host."""
        return ["nsenter", f"--target={self.holder}", "--user", "--net", "--preserve-credentials"]

    def ip(self, words: str) -> None:
        command = [*self.enter(), "ip", *words.split()]
        subprocess.run(command, check=True, capture_output=True, timeout=10)

    def cut(self) -> None:
        """Lose all that this host sends; what the other sends still comes."""
        self._send_to(NOBODY)

    def mend(self) -> None:
        self._send_to(STATIONS[1 - self.number])

    def _send_to(self, station: str) -> None:
        other = ADDRESSES[1 - self.number]
        self.ip(f"neigh replace {other} lladdr {station} dev qkdd{self.number}")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make them; ``OSError`` or ``CalledProcessError`` where this machine does not let us."""
    with _held(["unshare", "--user", "--map-root-user", "--net", *HOLD]) as first:
        left = Host(0, first)
        with _held([*left.enter(), "unshare", "--net", *HOLD]) as second:
            right = Host(1, second)
            left.ip("link add qkdd0 type veth peer name qkdd1")
            left.ip(f"link set qkdd1 netns {second}")
            for host in (left, right):
                name = f"qkdd{host.number}"
                host.ip(f"link set {name} address {STATIONS[host.number]}")
                host.ip(f"address add {host.address}/24 dev {name}")
                host.ip(f"link set {name} up")
                host.ip("link set lo up")
            for host in (left, right):
                host.mend()
            yield left, right


@contextmanager
def _held(command: list[str]) -> Iterator[int]:
    """Start a holder; its process ID, since every command here becomes the next by exec."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                assert process.stderr is not None
                raise OSError(process.stderr.read().decode(errors="replace").strip())
            yield process.pid
        finally:
            process.stdin.close()
            process.wait(timeout=10)


def why_not() -> str | None:
    """Say why this machine has no such hosts; None if it has."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"no {', '.join(lacking)} here"
    try:
        with two_hosts() as (left, right):
            assert os.readlink(f"/proc/{left.holder}/ns/net") != os.readlink("/proc/self/ns/net")
            assert Path(f"/proc/{right.holder}").exists()
            left.ip("neigh show")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error}"
    return None
