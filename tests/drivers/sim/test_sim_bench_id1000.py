"""A bench with a time controller: light at 1.25 GHz, the service's messages, stalls."""

import json
import struct

import numpy as np

from drivers.sim.bench import Bench
from drivers.sim.config import (
    CTL200Config,
    Fibre,
    HP8156AConfig,
    ID1000Config,
    Instruments,
    Link,
    Receiver,
    StateEncoderConfig,
)
from drivers.sim.idq_datalink import DataLinkTarget
from drivers.sim.idq_on_network import TimeController
from tests.drivers.sim.board_host import BOARD_NONCE, KEY, NONE, Host, S, configuration
from tests.drivers.sim.stream_client import Client

LISTEN = "tcp:127.0.0.1:0"
RATE_HZ = 1_250_000_000
OFFSET_PPM = 12.0
DARK_HZ = 200.0


def a_bench() -> Bench:
    instruments = Instruments(
        laser=CTL200Config(listen=LISTEN),
        attenuator=HP8156AConfig(listen=LISTEN),
        encoder=StateEncoderConfig(listen=LISTEN, key_file="board.key"),
        tagger=ID1000Config(listen=LISTEN, datalink=LISTEN),
    )
    receiver = Receiver(dark_hz=DARK_HZ, clock_offset_ppm=OFFSET_PPM, clock_drift_ppb_per_s=0.0)
    link = Link(name="a-b", fibre=Fibre(), receiver=receiver, instruments=instruments)
    return Bench(link, seed=1, key=KEY, entropy=lambda n: BOARD_NONCE[:n])


class Streams:
    """A time controller at a bench, its service and a client for every channel."""

    def __init__(self, bench: Bench) -> None:
        assert isinstance(bench.tagger, TimeController)
        self.device = bench.tagger.device
        self.clients: list[Client] = []
        bench.tagger.service = self.service = DataLinkTarget(addresses=(), open_port=self._open)
        for channel in (1, 2, 3, 4):
            assert self.device.receive(f"INPU{channel}:ENAB ON;THRE -0.4;EDGE FALL") == ""
            assert self.device.receive(f"RAW{channel}:SEND ON") == ""
            words = f"start-stream --address x --channel {channel} --stream-port 9"
            assert "id" in json.loads(self.service.receive(words))

    def _open(self, port: int) -> Client:
        self.clients.append(Client())
        return self.clients[-1]

    def stamps(self) -> list[list[np.ndarray]]:
        """Time stamps by channel and message."""
        return [[np.frombuffer(one, "<i8") for one in client.taken] for client in self.clients]


def switch_on(bench: Bench) -> None:
    """Pulses at 1.25 GHz, one photon in a hundred of them at the fibre's input."""
    for line in ("ldelay 10", "ilaser 150", "lason 1"):
        bench.laser.receive(line.encode() + b"\r\n")
        bench.catch_up(bench.now_ns + 2_000_000)
    bench.attenuator.receive(b"INP:ATT 39;:OUTP 1\n")
    bench.catch_up(bench.now_ns + S)
    host = Host(board=bench.encoder, now_ns=bench.now_ns)
    host.hello()
    plan = configuration(rate=RATE_HZ, preamble=62_500_000, frame=125_000_000, ramp=(20,))
    host.ask(2, plan)
    assert [host.load(block) for block in (NONE, 0)] == [0, 0]
    host.ask(4, struct.pack("<Q", 5))
    bench.catch_up(bench.now_ns + 10_000_000)


def test_clicks_at_1250_mhz_fold_into_one_narrow_peak():
    bench = a_bench()
    streams = Streams(bench)
    switch_on(bench)
    assert streams.device.receive("REC:NUM 1;DUR 50 GTB;ENAB ON;PLAY") == ""
    bench.catch_up(bench.now_ns + 60_000_000)
    clicks = np.concatenate([message for channel in streams.stamps() for message in channel])
    assert clicks.size > 10_000
    period_ps = 1e12 / RATE_HZ * (1 + OFFSET_PPM * 1e-6)
    phases = np.exp(2j * np.pi * clicks / period_ps)
    away_ps = np.angle(phases / phases.mean()) / (2 * np.pi) * period_ps
    assert np.mean(abs(away_ps) < 100.0) > 0.99


def test_dark_counts_fill_record_after_record_in_the_device_s_own_time():
    bench = a_bench()
    streams = Streams(bench)
    assert streams.device.receive("REC:NUM INF;PWID 250 GTB;PPER 250000040000;ENAB ON;PLAY") == ""
    bench.catch_up(5 * S - 61_000)  # the device is 12 ppm fast: 60 us in 5 s
    assert {len(channel) for channel in streams.stamps()} == {19}
    bench.catch_up(5 * S - 58_000)
    for channel in streams.stamps():
        assert len(channel) == 20
        assert abs(sum(map(len, channel)) - 5 * DARK_HZ) < 5 * (5 * DARK_HZ) ** 0.5  # 5 sigma


def test_records_go_on_in_the_dark_through_a_stall():
    bench = a_bench()
    streams = Streams(bench)
    assert streams.device.receive("REC:NUM INF;PWID 250 GTB;PPER 250000040000;ENAB ON;PLAY") == ""
    bench.skip_to(10 * S)
    status = json.loads(streams.service.receive("status --id x:5556"))
    assert (status["acquisitions_count"], status["timestamps_count"]) == (40, 0)
    assert streams.stamps() == [[]] * 4


def test_what_no_acquisition_takes_is_an_error_of_the_device():
    bench = a_bench()
    streams = Streams(bench)
    streams.service.close()
    assert streams.device.receive("REC:NUM 1;DUR 500 GTB;ENAB ON;PLAY") == ""
    bench.catch_up(S)
    assert [streams.device.receive(f"RAW{n}:ERRORS?") for n in (1, 2, 3, 4)] == ["1"] * 4
    assert streams.device.receive("RAW1:ERRORS:CLEAR;:RAW1:ERRORS?") == "0"
