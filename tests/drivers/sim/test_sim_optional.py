"""Power meter, polarisation controller and detectors' driver on a bench, and in a lab."""

import json
import math
import os
import signal
import socket
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import trio

from drivers.sim.bench import Bench
from drivers.sim.config import (
    Attack,
    CTL200Config,
    Fibre,
    HP8156AConfig,
    Instruments,
    LabConfigError,
    Link,
    Receiver,
    Source,
    StateEncoderConfig,
    TDC1Config,
    read_lab,
)
from drivers.sim.config_optional import EPCConfig, PM100Config, WebSQConfig
from drivers.sim.lab import RunningLab
from drivers.sim.optics.polarization import STAYS
from drivers.sim.optional import MAX_WAITING_BYTES
from drivers.sim.sq_websq import MS
from tests.drivers.sim.board_host import BOARD_NONCE, KEY, NONE, Host, configuration
from tests.drivers.sim.optics.test_polarization import undoing
from tests.drivers.sim.test_sim_bench import clicks, laser, take, wait
from tests.drivers.sim.test_sim_lab import read_until, start, tcp

LISTEN = "tcp:127.0.0.1:0"
DARK_HZ = 20_000.0
S = 1000 * MS
FOUR = Instruments(
    laser=CTL200Config(listen=LISTEN),
    attenuator=HP8156AConfig(listen=LISTEN),
    encoder=StateEncoderConfig(listen=LISTEN, key_file="board.key"),
    tagger=TDC1Config(listen=LISTEN),
)
ALL = msgspec.structs.replace(
    FOUR,
    power_meter=PM100Config(listen=LISTEN),
    polarization=EPCConfig(listen=LISTEN),
    detector=WebSQConfig(listen=LISTEN, biased=True),
)


def a_bench(instruments: Instruments = ALL, **source: float) -> Bench:
    receiver = Receiver(dark_hz=DARK_HZ)
    link = Link(name="a-b", source=Source(**source), receiver=receiver, instruments=instruments)
    return Bench(link, seed=1, key=KEY, entropy=lambda n: BOARD_NONCE[:n])


def said(bench: Bench, instrument: str, asked: bytes = b"", wait_ns: int = 200 * MS) -> bytes:
    """What one of them has to say after a while."""
    port = next(one.port for one in bench.optional.outlets if one.instrument == instrument)
    if not port.has_client:
        port.connected()
    port.sent(len(port.pending()))
    if asked:
        port.receive(asked)
    wait(bench, wait_ns)
    data = bytes(port.pending())
    port.sent(len(data))
    return data


def counts(bench: Bench) -> list[list[float]]:
    """Lines of one second."""
    data = said(bench, "counts", wait_ns=S)
    return [[float(word) for word in line.split(b",")] for line in data.splitlines()]


def command(bench: Bench, name: str, value: object, wait_ns: int = 200 * MS) -> None:
    said(bench, "detector", json.dumps({"command": name, "value": value}).encode(), wait_ns)


def encoder_of(bench: Bench) -> Host:
    host = Host(board=bench.encoder, now_ns=bench.now_ns)
    host.hello()
    host.ask(2, configuration())
    return host


def shown(bench: Bench, host: Host, level: int) -> float:
    """What the zeroed power meter reads while the encoder shows a level."""
    host.now_ns = bench.now_ns
    host.ask(7, bytes([level]))
    wait(bench, 20 * MS)
    return float(said(bench, "power_meter", b"READ?\n"))


def zeroed_and_lit(bench: Bench) -> Host:
    said(bench, "power_meter", b"SENS:CORR:WAV 1550.12\nSENS:CORR:COLL:ZERO\n", wait_ns=S)
    for line in ("ldelay 10", "ilaser 150", "lason 1"):
        laser(bench, line)
    wait(bench, 20 * MS)
    return encoder_of(bench)


def test_the_power_meter_reads_each_level_of_the_modulator_and_none_without_a_plan():
    bench = a_bench(tap_ratio=0.02)
    for line in ("ldelay 10", "ilaser 150", "lason 1"):
        laser(bench, line)
    wait(bench, 20 * MS)
    assert bench.optional.power_meter.power_w == 0.0
    bench = a_bench(tap_ratio=0.02)
    host = zeroed_and_lit(bench)
    full_w = 0.02 * 14e-3
    for level, passes in enumerate((1.0, 0.38, 0.002)):
        assert shown(bench, host, level) == pytest.approx(passes * full_w, rel=1e-6)
    assert shown(bench, host, 0) == pytest.approx(full_w)
    wait(bench, 2 * S)  # nobody asks the encoder: its watchdog
    assert float(said(bench, "power_meter", b"READ?\n")) == pytest.approx(0.002 * full_w)


def test_a_modulator_off_its_point_shows_at_the_tap_level_by_level():
    bench = a_bench(tap_ratio=0.02, weak_error=1.02, vacuum_error=3.0)
    host = zeroed_and_lit(bench)
    full_w = 0.02 * 14e-3
    assert shown(bench, host, 0) == pytest.approx(full_w)
    assert shown(bench, host, 1) == pytest.approx(1.02 * 0.38 * full_w)
    assert shown(bench, host, 2) == pytest.approx(3.0 * 0.002 * full_w)
    bench.attack = Attack(kind="intensity-drift", fraction=0.1)
    assert shown(bench, host, 1) == pytest.approx(1.1 * 1.02 * 0.38 * full_w)
    assert shown(bench, host, 0) == pytest.approx(full_w)


def test_the_power_meter_reads_the_mean_of_a_run_and_more_of_its_preamble():
    bench = a_bench(tap_ratio=0.02)
    host = zeroed_and_lit(bench)
    assert [host.load(block) for block in (NONE, 0, 1, 2)] == [0] * 4
    host.now_ns = bench.now_ns
    host.ask(4, bytes(8))
    wait(bench, 50 * MS)
    preamble_w = bench.optional.power_meter.power_w
    wait(bench, 100 * MS)
    mean = 1 / 200 + 199 / 200 * (42_598 + 19_005 * 0.38 + 3_933 * 0.002) / 65_536
    assert preamble_w == pytest.approx(0.02 * 14e-3)
    assert bench.optional.power_meter.power_w == pytest.approx(mean * preamble_w, rel=1e-9)


def test_the_power_meter_reads_the_tapped_laser():
    bench = a_bench(tap_ratio=0.02)
    host = encoder_of(bench)
    said(bench, "power_meter", b"SENS:CORR:WAV 1550.12\nSENS:CORR:COLL:ZERO\n", wait_ns=S)
    assert float(said(bench, "power_meter", b"READ?\n")) == 0.0
    for line in ("ldelay 10", "ilaser 150", "lason 1"):
        laser(bench, line)
    wait(bench, 20 * MS)
    assert shown(bench, host, 0) == pytest.approx(0.02 * 14e-3)
    laser(bench, "ilaser 80")
    assert shown(bench, host, 0) == pytest.approx(0.02 * 7e-3)
    bench.attenuator.receive(b"OUTP 0\n")
    assert shown(bench, host, 0) == pytest.approx(0.02 * 7e-3)
    laser(bench, "lason 0")
    assert shown(bench, host, 0) == 0.0


def test_the_polarisation_controller_answers():
    answer = said(a_bench(), "polarization", b"V2,-1200\r\nM?\r\n")
    assert answer == (
        b"V2,-1200\r\nSet CH2 DC Voltage at: -1200mV\r\nDone\r\nM?\r\nWork Mode: DC\r\nDone\r\n"
    )


def test_the_box_counts_what_the_tagger_gets_in_periods_of_its_own():
    bench = a_bench()
    command(bench, "SetMeasurementPeriod", 30)  # of which a step of 20 ms is no divisor
    lines = counts(bench)
    assert 32 <= len(lines) <= 34
    expected = DARK_HZ * 0.03
    assert all(abs(n - expected) < 6 * expected**0.5 for line in lines for n in line[1:])
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(lines)]
    assert gaps == pytest.approx([0.03] * len(gaps), abs=2e-3)


def test_counts_and_tags_are_the_same_clicks():
    bench = a_bench()
    command(bench, "SetMeasurementPeriod", 1000, wait_ns=0)
    bench.tagger.receive(b"singles;time 1000;counts?\r\n")
    (line,) = counts(bench)
    wait(bench, 10 * MS)
    tagged = [int(word) for word in take(bench).split()]
    assert line[1:] == pytest.approx(tagged, abs=10)  # the clocks differ by 12 ppm
    assert min(tagged) > 0.9 * DARK_HZ


def test_an_unbiased_detector_sends_no_clicks_to_the_tagger():
    bench = a_bench()
    full = clicks(bench)
    command(bench, "SetAllBiasCurrents", [18.0, 18.0, 0.0, 5.0])
    assert 0.4 < clicks(bench) / full < 0.6
    command(bench, "SetAllBiasCurrents", [18.0, 21.0, 18.0, 18.0])
    assert 0.65 < clicks(bench) / full < 0.85
    assert [n > 0 for n in counts(bench)[-1][1:]] == [True, False, True, True]
    command(bench, "DetectorEnable", False)
    assert clicks(bench) == 0
    command(bench, "SetAllBiasCurrents", [18.0] * 4)
    command(bench, "DetectorEnable", True)
    assert 0.95 < clicks(bench) / full < 1.05


def test_a_box_that_nobody_has_set_up_keeps_the_receiver_dark():
    fresh = msgspec.structs.replace(ALL, detector=WebSQConfig(listen=LISTEN))
    assert clicks(a_bench(fresh)) == 0


def test_a_bench_is_the_same_with_them_and_without():
    def stream(instruments: Instruments) -> bytes:
        bench = a_bench(instruments)
        bench.tagger.receive(b"timestamp;time 0;counts?;")
        wait(bench, S)
        bench.tagger.receive(b"inpkt;")
        return take(bench)

    assert stream(FOUR) == stream(ALL)
    assert not a_bench(FOUR).optional.outlets


def test_a_stall_is_not_counted_and_lines_go_on_after_it():
    bench = a_bench()
    counts(bench)
    bench.skip_to(bench.now_ns + 10 * S)
    lines = counts(bench)
    assert len(lines) == 10
    assert lines[0][0] > 11.0
    assert lines[-1][1] > 0.8 * DARK_HZ * 0.1


def test_counts_wait_for_a_slow_client_within_limits_and_for_none_not_at_all():
    bench = a_bench()
    port = next(one.port for one in bench.optional.outlets if one.instrument == "counts")
    wait(bench, S)
    assert not port.pending()
    port.connected()
    command(bench, "SetMeasurementPeriod", 10)
    port.sent(len(port.pending()))
    wait(bench, 30 * S)
    assert MAX_WAITING_BYTES <= len(port.pending()) < MAX_WAITING_BYTES + 100
    port.disconnected()
    assert not port.pending()


def lab(tmp_path, *, meter: str = "tcp:127.0.0.1:0", counts_at: str = "tcp:127.0.0.1:0"):
    (tmp_path / "board.key").write_bytes(KEY)
    path = tmp_path / "lab.toml"
    path.write_text(f"""
seed = 7
[[links]]
name = "a-b"
[links.instruments]
laser = {{ model = "koheron-ctl200", listen = "pty:laser" }}
attenuator = {{ model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }}
encoder = {{ model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "board.key" }}
tagger = {{ model = "s15-tdc1", listen = "tcp:127.0.0.1:0" }}
power_meter = {{ model = "thorlabs-pm100", listen = "{meter}" }}
polarization = {{ model = "ozoptics-epc", listen = "pty:epc", echo = false }}
detector = {{ model = "sq-websq", listen = "tcp:127.0.0.1:0", counts = "{counts_at}" }}
""")
    return path


def test_a_lab_serves_them_until_it_is_told_to_stop(tmp_path):
    with start(lab(tmp_path)) as process:
        places = json.loads(process.stdout.readline())["instruments"]["a-b"]
        assert places["power_meter"].endswith("::SOCKET")
        with tcp(places["power_meter"]) as meter:
            meter.sendall(b"*IDN?\n")
            assert read_until(meter, b"\n").startswith(b"THORLABS,PM100D,")
        assert places["polarization"] == f"serial:{tmp_path}/epc"
        line = os.open(tmp_path / "epc", os.O_RDWR | os.O_NOCTTY)
        os.write(line, b"VH1\r\n")
        assert read_until(line, b"Done\r\n") == b"Set CH1 DC Voltage at: 5000mV\r\nDone\r\n"
        os.close(line)
        with tcp(places["detector"]) as box, tcp(places["counts"]) as lines:
            box.sendall(b'{"request": "NumberOfDetectors"}')
            assert b'{"label":"NumberOfDetectors","value":4}\x17' in read_until(box, b"4}\x17")
            assert read_until(lines, b"\n").splitlines()[0].count(b",") == 4
        process.send_signal(signal.SIGTERM)
        assert (process.wait(timeout=10), process.stderr.read()) == (0, b"")
    assert not [path for path in tmp_path.iterdir() if path.is_symlink()]


async def test_the_boxs_two_ports_can_be_cut_apart(tmp_path):
    running = RunningLab(read_lab(lab(tmp_path)), tmp_path, entropy=bytes)
    servers = {place.instrument: place.server for place in running.places}
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            box = await trio.open_tcp_stream(*servers["detector"].address)
            lines = await trio.open_tcp_stream(*servers["counts"].address)
            assert await lines.receive_some()
            servers["counts"].unplug()
            while await lines.receive_some():
                pass
            await box.send_all(b'{"request": "StartAutoIV"}')
            answer = b""
            while not answer.endswith(b'{"label":"StartAutoIV","value":false}\x17'):
                answer += await box.receive_some()
            with pytest.raises(OSError, match=r"127\.0\.0\.1"):
                await trio.open_tcp_stream(*servers["counts"].address)
            servers["counts"].plug()
            again = await trio.open_tcp_stream(*servers["counts"].address)
            assert (await again.receive_some()).endswith(b"\n")
            for stream in (box, lines, again):
                await stream.aclose()
            nursery.cancel_scope.cancel()


def test_a_place_of_theirs_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = lab(tmp_path, counts_at=f"tcp:127.0.0.1:{taken.getsockname()[1]}")
        with start(path) as process:
            assert process.wait(timeout=10) == 2
            assert b"a-b counts" in process.stderr.read()


def test_they_cannot_share_a_place_and_a_box_is_on_a_network(tmp_path):
    with pytest.raises(LabConfigError, match="pty:epc"):
        read_lab(lab(tmp_path, meter="pty:epc"))
    with pytest.raises(LabConfigError, match="on a network"):
        read_lab(lab(tmp_path, counts_at="pty:counts"))
    with pytest.raises(LabConfigError, match="10001"):
        read_lab(lab(tmp_path, meter="tcp:127.0.0.1:10001", counts_at="tcp:127.0.0.1:10001"))


def test_the_controllers_voltages_turn_the_fibres_light_back():
    """From an unknown polarisation: three voltages, as the turn's Euler angles say, undo it."""
    fibre = Fibre(polarization_start="unknown")
    link = Link(name="a-b", fibre=fibre, receiver=Receiver(), instruments=ALL)
    bench = Bench(link, seed=1, key=KEY, entropy=lambda n: BOARD_NONCE[:n])
    fibre_turn = bench._optics._fibre_turn.turn
    assert np.abs(fibre_turn - STAYS).max() > 0.5
    for channel, angle in enumerate(undoing(fibre_turn), 1):
        mv = round(2000.0 * angle / math.pi)
        assert b"Done" in said(bench, "polarization", f"V{channel},{mv}\n".encode())
    np.testing.assert_allclose(bench._optics.controller_turn @ fibre_turn, STAYS, atol=3e-3)
    assert b"Done" in said(bench, "polarization", b"MAC\n")
    turns = [bench._optics.controller_turn for _ in range(3) if wait(bench, 7 * MS) is None]
    assert all(np.abs(one @ fibre_turn - STAYS).max() > 0.1 for one in turns)


def test_light_sent_into_the_laser_shows_at_the_tap():
    bench = a_bench(tap_ratio=0.05)
    for line in ("ldelay 10", "ilaser 150", "lason 1"):
        laser(bench, line)
    host = encoder_of(bench)
    host.ask(7, b"\0")
    wait(bench, 20 * MS)
    before_w = bench.optional.power_meter.power_w
    bench.attack = Attack(kind="laser-seeding", fraction=0.5)
    wait(bench, 20 * MS)
    assert before_w == pytest.approx(14e-3 * 0.05)
    assert bench.optional.power_meter.power_w == pytest.approx(1.5 * before_w)


def test_bright_light_that_blinds_the_wires_shows_in_their_voltage():
    bench = a_bench()
    wires = bench.optional.detector.wires
    well = wires.voltages_mv
    bench.attack = Attack(kind="blinding-careful", fraction=0.1)
    wait(bench, 20 * MS)
    blind = wires.voltages_mv
    assert all(10 * one < other for one, other in zip(well, blind, strict=True))
    assert b"BiasVoltage" in said(bench, "detector", b'{"request":"BiasVoltage"}')
    bench.attack = Attack(kind="intercept-resend", fraction=1.0)
    wait(bench, 20 * MS)
    assert wires.voltages_mv == well
