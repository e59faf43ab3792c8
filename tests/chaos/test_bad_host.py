"""The bad host does what it is told to one process, and nothing once it recovers."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.bad_host import BadHost, why_not

PROBE = """
import os, sys, time
for line in sys.stdin:
    path = line.strip()
    if path == "time":
        print(time.time(), time.monotonic(), flush=True)
        continue
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.pwrite(file, b"x", 0)
        os.write(file, b"x")
        os.fsync(file)
        print("done", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
    os.close(file)
"""


def test_a_process_sees_the_faults_that_are_ordered_and_no_others(tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    host = BadHost.build(tmp_path / "host")
    with subprocess.Popen(
        [sys.executable, *host.python("-c", PROBE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:

        def ask(word: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(word + "\n")
            return process.stdout.readline().strip()

        bad, good = str(tmp_path / "bad-file"), str(tmp_path / "good-file")
        assert ask(bad) == "done"
        for number in (errno.ENOSPC, errno.EROFS):
            host.writing_fails(number, "bad-file")
            assert (ask(bad), ask(good)) == (str(number), "done")
        host.syncing_fails("bad-file")
        assert (ask(bad), ask(good)) == (str(errno.EIO), "done")
        host.clock_is_ahead(3600)
        wall, monotonic = map(float, ask("time").split())
        assert 3590 < wall - time.time() < 3610
        assert abs(monotonic - time.monotonic()) < 10
        host.recovers()
        assert ask(bad) == "done"
        assert abs(float(ask("time").split()[0]) - time.time()) < 10
