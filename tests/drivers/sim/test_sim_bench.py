"""One link's bench: the instruments act on each other through the light, and only so."""

import struct
from pathlib import Path

import numpy as np
import pytest

from drivers.sim.bench import STEP_NS, Bench, EncoderPort, LaserPort, board_key
from drivers.sim.config import (
    CTL200Config,
    HP8156AConfig,
    Instruments,
    LabConfigError,
    Link,
    Receiver,
    StateEncoderConfig,
    TDC1Config,
)
from drivers.sim.serve import HangUp
from tests.drivers.sim.board_host import BOARD_NONCE, KEY, NONE, Host, S, configuration

LISTEN = "tcp:127.0.0.1:0"
DARK_HZ = 200.0


def a_bench(*, fifo_words: int = 65_536, slips_per_s: float = 0.0, seed: int = 1) -> Bench:
    instruments = Instruments(
        laser=CTL200Config(listen=LISTEN),
        attenuator=HP8156AConfig(listen=LISTEN),
        encoder=StateEncoderConfig(listen=LISTEN, key_file="board.key"),
        tagger=TDC1Config(listen=LISTEN, fifo_words=fifo_words, slips_per_s=slips_per_s),
    )
    link = Link(name="a-b", receiver=Receiver(dark_hz=DARK_HZ), instruments=instruments)
    return Bench(link, seed=seed, key=KEY, entropy=lambda n: BOARD_NONCE[:n])


def wait(bench: Bench, n_ns: int) -> None:
    bench.catch_up(bench.now_ns + n_ns)


def take(bench: Bench) -> bytes:
    taken = bytearray()
    while chunk := bench.tagger.pending():
        taken += chunk
        bench.tagger.sent(len(chunk))
    return bytes(taken)


def laser(bench: Bench, line: str) -> None:
    bench.laser.receive(line.encode() + b"\r\n")
    wait(bench, 2_000_000)


def clicks(bench: Bench) -> int:
    """Clicks of all four detectors in 100 ms."""
    bench.tagger.receive(b"singles;time 100;counts?\r\n")
    wait(bench, 100_000_000)
    return sum(map(int, take(bench).split()))


def lit() -> tuple[Bench, Host]:
    """A bench whose 1 MHz of pulses go through the fibre with a photon in almost each."""
    bench = a_bench()
    for line in ("ldelay 10", "ilaser 150", "lason 1"):
        laser(bench, line)
    bench.attenuator.receive(b"INP:ATT 60;:OUTP 1\n")
    wait(bench, S)
    host = Host(board=bench.encoder, now_ns=bench.now_ns)
    host.hello()
    host.ask(2, configuration(ramp=(100,)))
    assert [host.load(block) for block in (NONE, 0)] == [0, 0]
    host.ask(4, struct.pack("<Q", 5))
    wait(bench, 10_000_000)
    return bench, host


BRIGHT = 10_000  # clicks in 100 ms; the dark ones are 80 on average


def test_a_dark_bench_counts_the_dark_rate():
    expected = 4 * DARK_HZ * 0.1
    assert abs(clicks(a_bench()) - expected) < 5 * expected**0.5  # 5 sigma


def test_light_needs_laser_shutter_and_board_and_each_can_end_it():
    bench, _ = lit()
    assert clicks(bench) > BRIGHT
    bench, _ = lit()
    laser(bench, "lason 0")
    assert clicks(bench) < 200
    bench, _ = lit()
    bench.attenuator.receive(b"OUTP 0\n")
    wait(bench, 5_000_000)
    assert clicks(bench) < 200
    bench, _ = lit()
    bench.encoder.disconnected()
    wait(bench, 5_000_000)
    assert clicks(bench) < 200
    bench, _ = lit()
    bench.laser.interlock_open = True
    wait(bench, 5_000_000)
    assert clicks(bench) < 200


def test_more_attenuation_is_less_light():
    """The reach of the filter is 60 dB, so light is taken away by the laser current: 1/2."""
    bench, host = lit()
    clicks(bench)  # the preamble, which is brighter than the frames
    host.now_ns = bench.now_ns
    host.status()
    full = clicks(bench)
    host.now_ns = bench.now_ns
    host.status()  # keep the board's watchdog quiet
    laser(bench, "ilaser 80")  # 14 mW -> 7 mW above a threshold of 10 mA
    half = clicks(bench)
    assert 0.4 < half / full < 0.75  # detectors see at most one photon of a pulse


def test_what_left_before_a_stop_arrives_though_the_model_had_not_walked_it():
    """The board may hear a command when its clock is ahead of the model's, in mid-step."""
    counts = []
    for walked_before in (False, True):
        bench, host = lit()
        bench.tagger.receive(b"singles;time 50;counts?\r\n")
        host.now_ns = bench.now_ns + 12_000_000
        if walked_before:
            bench.catch_up(host.now_ns)
        host.ask(5)
        assert bench.now_ns == host.now_ns
        wait(bench, 50_000_000)
        counts.append(take(bench))
    assert counts[0] == counts[1]
    assert sum(map(int, counts[0].split())) > BRIGHT * 0.12


def test_a_lasers_setting_catches_up_in_any_pieces_and_a_question_does_not():
    bench = a_bench()
    n_caught_up = []
    port = LaserPort(bench, lambda: n_caught_up.append(bench.now_ns))
    for pieces, caught_up in (([b"ila", b"ser\r\n"], 0), ([b"ilaser 1", b"50", b"\r\n"], 3)):
        for piece in pieces:
            port.receive(piece)
        wait(bench, 200_000_000)
        assert len(n_caught_up) == caught_up
    port.receive(b"ilaser\r\n")
    wait(bench, 200_000_000)
    assert len(n_caught_up) == 3
    assert float(bytes(port.pending()).split()[-2]) == 150.0


def test_the_board_goes_dark_when_its_host_falls_silent():
    bench, _ = lit()
    wait(bench, S)
    assert clicks(bench) < 200


def test_the_same_seed_gives_the_same_clicks_and_another_gives_others():
    def stream(seed: int) -> bytes:
        bench = a_bench(seed=seed)
        bench.tagger.receive(b"timestamp;time 0;counts?;")
        wait(bench, S)
        bench.tagger.receive(b"inpkt;")
        return take(bench)

    assert stream(1) == stream(1)
    assert stream(1) != stream(2)


def test_the_taggers_clock_is_its_own():
    """12 ppm fast and 1 ppb/s faster: a gate of 60 s takes 722 us less of the lab's time."""
    bench = a_bench()
    bench.tagger.receive(b"singles;time 60000;counts?;")
    wait(bench, 60 * S - 724_000)
    assert not bench.tagger.pending()
    wait(bench, 4_000)
    assert bench.tagger.pending()


def test_a_host_that_does_not_read_finds_the_overflow():
    bench = a_bench(fifo_words=128)
    bench.tagger.receive(b"timestamp;time 0;counts?;")
    wait(bench, S)
    bench.tagger.receive(b"abort;status?\r\n")
    assert take(bench).endswith(b"0010 \r\n")


def test_slips_come_at_their_rate():
    bench = a_bench(slips_per_s=5.0)
    bench.tagger.receive(b"timestamp;time 0;counts?;")
    lost, n = 0, 0
    while bench.now_ns < 20 * S:
        bench.step(bench.now_ns + STEP_NS)
        bench.tagger.receive(b"inpkt;")
        n_bytes = len(take(bench))
        lost += n_bytes % 4 == 2
        n += n_bytes // 4
    assert abs(lost - 100) < 5 * 10  # 5 sigma
    assert n > 10_000


def test_a_skipped_stall_is_dark_and_time_goes_on():
    bench, _ = lit()
    bench.tagger.receive(b"timestamp;time 0;counts?;")
    bench.skip_to(bench.now_ns + 10 * S)
    bench.tagger.receive(b"inpkt;")
    words = np.frombuffer(take(bench), "<u4")
    assert words.size == 74  # dummies every 134.2 ms
    assert (words & 16).all()
    wait(bench, S)
    assert bench.now_ns > 11 * S


def test_a_stranger_at_the_board_is_hung_up_on():
    bench = a_bench()
    port = EncoderPort(bench, lambda: None, lambda: bench.now_ns)
    port.connected()
    with pytest.raises(HangUp):
        port.receive(b"GET / HTTP/1.1\r\nHost: board\r\n\r\n")


@pytest.mark.parametrize("written", [KEY, KEY.hex().encode(), KEY.hex().encode() + b"\n"])
def test_a_board_key_is_raw_or_hexadecimal(tmp_path: Path, written: bytes):
    (tmp_path / "board.key").write_bytes(written)
    config = StateEncoderConfig(listen=LISTEN, key_file="board.key")
    assert board_key(config, tmp_path) == KEY


@pytest.mark.parametrize(
    "written", [None, b"", b"short", KEY + b"x", b"zz" * 32, KEY.hex().encode()[:-2]]
)
def test_a_wrong_board_key_is_reported_with_its_file(tmp_path: Path, written: bytes | None):
    if written is not None:
        (tmp_path / "board.key").write_bytes(written)
    config = StateEncoderConfig(listen=LISTEN, key_file="board.key")
    with pytest.raises(LabConfigError, match=r"no board key|32 bytes"):
        board_key(config, tmp_path)
