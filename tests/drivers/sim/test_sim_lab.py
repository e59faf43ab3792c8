"""The lab as its users start it: a process, its one line of JSON, its instruments, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from drivers.sim.config import read_lab
from drivers.sim.lab import RunningLab
from tests.drivers.sim.board_host import KEY

ROOT = Path(__file__).parents[3]
LINK = """
[[links]]
name = "{name}"
[links.instruments]
laser = {{ model = "koheron-ctl200", listen = "pty:laser-{name}" }}
attenuator = {{ model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }}
encoder = {{ model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "board.key" }}
tagger = {{ model = "s15-tdc1", listen = "{tagger}" }}
"""


def write_lab(folder: Path, *, tagger: str = "tcp:127.0.0.1:0") -> Path:
    (folder / "board.key").write_bytes(KEY)
    links = LINK.format(name="a-b", tagger=tagger) + LINK.format(name="b-c", tagger="pty:tagger")
    path = folder / "lab.toml"
    path.write_text("seed = 7\n" + links)
    return path


@contextmanager
def start(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "drivers.sim", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as lab:
        try:
            yield lab
        finally:
            lab.kill()


def tcp(resource: str) -> socket.socket:
    place = resource.removeprefix("tcp://").removeprefix("TCPIP::").removesuffix("::SOCKET")
    host, port = place.replace("::", ":").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_until(source: socket.socket | int, end: bytes) -> bytes:
    data = b""
    while end not in data:
        chunk = os.read(source, 4096) if isinstance(source, int) else source.recv(65_536)
        assert chunk, "the instrument hung up"
        data += chunk
    return data


def test_a_lab_serves_every_instrument_until_it_is_told_to_stop(tmp_path):
    with start(write_lab(tmp_path)) as lab:
        ready = json.loads(lab.stdout.readline())
        assert ready["ready"] is True
        assert set(ready["instruments"]) == {"a-b", "b-c"}
        places = ready["instruments"]["a-b"]
        assert places["laser"] == f"serial:{tmp_path}/laser-a-b"
        assert places["attenuator"].startswith("TCPIP::127.0.0.1::")
        line = os.open(places["laser"].removeprefix("serial:"), os.O_RDWR | os.O_NOCTTY)
        os.write(line, b"model\r\n")
        assert read_until(line, b">>") == b"model\r\nCTL200-0\r\n>>"
        os.close(line)
        with tcp(places["attenuator"]) as attenuator:
            attenuator.sendall(b"INP:ATT 20;*OPC?;:INP:ATT?\n")
            assert read_until(attenuator, b"\n") == b"1;20.000\n"
        with tcp(places["encoder"]) as encoder:
            encoder.sendall(b"QMSE\x02\x00\x00\x00" + bytes(16))
            assert read_until(encoder, b"QMSE\x02").startswith(b"QMSE\x02")
        with tcp(places["tagger"]) as tagger:
            tagger.sendall(b"*idn?;singles;time 50;counts?\r\n")
            assert b"TDC1" in read_until(tagger, b"\r\n")
            assert len(read_until(tagger, b"\r\n").split()) == 4
        tagger_line = ready["instruments"]["b-c"]["tagger"].removeprefix("serial:")
        line = os.open(tagger_line, os.O_RDWR | os.O_NOCTTY)
        os.write(line, b"status?\r\n")
        assert read_until(line, b"\n") == b"0000 \r\n"
        os.close(line)
        lab.send_signal(signal.SIGTERM)
        assert (lab.wait(timeout=10), lab.stderr.read()) == (0, b"")
    assert not [path for path in tmp_path.iterdir() if path.is_symlink()]


def test_ctrl_c_is_a_clean_end_too(tmp_path):
    with start(write_lab(tmp_path)) as lab:
        lab.stdout.readline()
        lab.send_signal(signal.SIGINT)
        assert (lab.wait(timeout=10), lab.stderr.read()) == (0, b"")


def test_a_lab_that_cannot_be_says_why_and_leaves_nothing_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = write_lab(tmp_path, tagger=f"tcp:127.0.0.1:{taken.getsockname()[1]}")
        with start(path) as lab:
            assert lab.wait(timeout=10) == 2
            assert lab.stdout.read() == b""
            assert b"a-b tagger" in lab.stderr.read()
    assert not [path for path in tmp_path.iterdir() if path.is_symlink()]
    with start(tmp_path / "nowhere.toml") as lab:
        assert lab.wait(timeout=10) == 2
        assert b"nowhere.toml" in lab.stderr.read()


async def test_a_lab_keeps_time_catches_up_and_says_when_it_cannot(
    tmp_path, autojump_clock, capsys
):
    skipped_ns = 0
    lab = RunningLab(
        read_lab(write_lab(tmp_path)),
        tmp_path,
        entropy=bytes,
        clock_ns=lambda: int(trio.current_time() * 1e9) + skipped_ns,
    )
    start_ns = int(trio.current_time() * 1e9)

    def lags_ns() -> list[int]:
        now_ns = int(trio.current_time() * 1e9) + skipped_ns - start_ns
        return [now_ns - bench.now_ns for bench in lab.benches]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lab.run)
        await trio.sleep(1.0)
        assert max(lags_ns()) <= 10_000_000
        skipped_ns += 1_900_000_000
        await trio.sleep(0.02)
        assert max(lags_ns()) <= 10_000_000
        assert capsys.readouterr().err == ""
        skipped_ns += 3_000_000_000
        await trio.sleep(0.02)
        assert max(lags_ns()) <= 10_000_000
        said = capsys.readouterr().err.splitlines()
        assert ["stalled for 3.0 s" in line for line in said] == [True, True]
        nursery.cancel_scope.cancel()
