"""A lab with a time controller in it, as its users start it: clicks come out of ZeroMQ."""

import json
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import zmq

from drivers.sim.config import LabConfigError, read_lab
from tests.drivers.sim.board_host import KEY
from tests.drivers.sim.test_sim_lab import start

DARK_HZ = 20_000.0
LAB = """
seed = 7
[[links]]
name = "a-b"
[links.receiver]
dark_hz = {dark_hz}
[links.instruments]
laser = {{ model = "koheron-ctl200", listen = "pty:laser" }}
attenuator = {{ model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }}
encoder = {{ model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "board.key" }}
tagger = {{ model = "idq-id1000", listen = "tcp:127.0.0.1:0", datalink = "{datalink}" }}
"""


def write_lab(folder: Path, *, datalink: str = "tcp:127.0.0.1:0") -> Path:
    (folder / "board.key").write_bytes(KEY)
    path = folder / "lab.toml"
    path.write_text(LAB.format(dark_hz=DARK_HZ, datalink=datalink))
    return path


def dial(context: zmq.Context, kind: int, resource: str) -> zmq.Socket:
    client = context.socket(kind)
    client.set(zmq.LINGER, 0)
    client.set(zmq.RCVTIMEO, 10_000)
    client.connect(resource.replace("zmq://", "tcp://"))
    return client


def ask(client: zmq.Socket, text: str) -> str:
    client.send_string(text)
    return client.recv_string()


def free_ports(n: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def test_dark_counts_come_out_of_four_streams_and_the_lab_ends_cleanly(tmp_path):
    with start(write_lab(tmp_path)) as lab, zmq.Context() as context:
        places = json.loads(lab.stdout.readline())["instruments"]["a-b"]
        assert places["tagger"].startswith("zmq://127.0.0.1:")
        device, service = (dial(context, zmq.REQ, places[name]) for name in ("tagger", "datalink"))
        assert "Serial :" in ask(device, "*IDN?")
        for command in ("REC:ENAB ON;NUM INF", "REC:PWID 200 GTB;PPER 200000040000"):
            assert ask(device, command) == ""
        streams, names = [], []
        for channel, port in enumerate(free_ports(4), 1):
            assert ask(device, f"INPU{channel}:ENAB ON;THRE -0.4;EDGE FALL") == ""
            assert ask(device, f"RAW{channel}:SEND ON") == ""
            streams.append(dial(context, zmq.PAIR, f"zmq://127.0.0.1:{port}"))
            words = f"start-stream --address 127.0.0.1 --channel {channel} --stream-port {port}"
            names.append(json.loads(ask(service, words))["id"])
        assert json.loads(ask(service, "list")) == names
        assert ask(device, "REC:PLAY") == ""
        for stream in streams:
            for _ in range(2):
                stamps = np.frombuffer(stream.recv(), "<u8")
                assert abs(stamps.size - DARK_HZ * 0.2) < 5 * (DARK_HZ * 0.2) ** 0.5  # 5 sigma
                assert (np.diff(stamps.astype(np.int64)) >= 0).all()
                assert int(stamps[-1]) < 200_000_000_000
        assert ask(device, "REC:STOP;STAG?") == "IDLE"
        for channel, (name, stream) in enumerate(zip(names, streams, strict=True), 1):
            status = json.loads(ask(service, f"stop --id {name}"))["status"]
            assert (status["errors"], ask(device, f"RAW{channel}:ERRORS?")) == ([], "0")
            while stream.recv():
                pass
        lab.send_signal(signal.SIGTERM)
        assert (lab.wait(timeout=10), lab.stderr.read()) == (0, b"")
        for client in (device, service, *streams):
            client.close()


def test_a_port_of_the_service_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = write_lab(tmp_path, datalink=f"tcp:127.0.0.1:{taken.getsockname()[1]}")
        with start(path) as lab:
            assert lab.wait(timeout=10) == 2
            assert b"a-b datalink" in lab.stderr.read()
    assert not [path for path in tmp_path.iterdir() if path.is_symlink()]


def test_two_services_cannot_share_the_default_port(tmp_path):
    link = LAB.format(dark_hz=1.0, datalink="tcp:127.0.0.1:6060")
    second = link[link.index("[[links]]") :].replace("a-b", "b-c").replace("pty:laser", "pty:other")
    path = tmp_path / "lab.toml"
    path.write_text(link + second)
    with pytest.raises(LabConfigError, match="6060"):
        read_lab(path)


def test_zeromq_on_a_serial_line_is_refused(tmp_path):
    path = write_lab(tmp_path, datalink="pty:x")
    with pytest.raises(LabConfigError, match="needs a network"):
        read_lab(path)
