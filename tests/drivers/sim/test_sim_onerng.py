"""The simulated OneRNG, line by line as the maker's firmware (cdc_app.c) has it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.onerng import (
    AVALANCHE_ONES,
    LONGEST_RUN,
    NOISE_BYTES_PER_S,
    PACKET_BYTES,
    POOL_BYTES,
    OneRNG,
)

TICK_S = 0.01
BITS_OF = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def a_source(firmware: int = 3) -> OneRNG:
    return OneRNG(np.random.Generator(np.random.Philox(5)), firmware=firmware)


def heard(source: OneRNG, n_ticks: int = 1) -> bytes:
    """What a host that reads all the time gets."""
    noise = b""
    for _ in range(n_ticks):
        source.advance(TICK_S)
        while data := bytes(source.pending()):
            source.sent(len(data))
            noise += data
    return noise


def running(mode: bytes = b"1", firmware: int = 3) -> OneRNG:
    source = a_source(firmware)
    source.receive(b"cmd" + mode + b"\ncmdw\ncmdO\n")
    return source


def test_it_is_silent_until_it_is_told_to_run_and_again_when_it_is_told_to_pause():
    source = a_source()
    assert heard(source, 100) == b""
    source.receive(b"cmdO\n")
    assert len(heard(source)) >= POOL_BYTES - PACKET_BYTES  # what had gathered
    source.receive(b"cmdo\n")
    assert heard(source, 10) == b""


def test_noise_comes_at_its_rate_in_packets():
    noise = heard(running(), 200)
    assert abs(len(noise) - 2 * NOISE_BYTES_PER_S) <= PACKET_BYTES
    assert len(noise) % PACKET_BYTES == 0


@pytest.mark.parametrize(
    ("firmware", "ones"), [(2, AVALANCHE_ONES), (3, 2 * AVALANCHE_ONES * (1 - AVALANCHE_ONES))]
)
def test_raw_noise_has_the_diodes_share_of_ones_and_version_3_folds_it(firmware, ones):
    noise = np.frombuffer(heard(running(firmware=firmware), 300), np.uint8)
    n_bits = 8 * noise.size
    sigma = math.sqrt(ones * (1 - ones) / n_bits)
    assert abs(BITS_OF[noise].sum() / n_bits - ones) < 5 * sigma
    counts = np.bincount(noise, minlength=256)
    assert (counts > 0).all()
    expected = noise.size * ones**BITS_OF * (1 - ones) ** (8 - BITS_OF)
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi2 - 255) < 6 * math.sqrt(2 * 255)


def test_whitened_noise_has_no_bias_that_a_second_shows():
    noise = np.frombuffer(heard(running(b"0", firmware=2), 100), np.uint8)
    ones = BITS_OF[noise].sum() / (8 * noise.size)
    assert abs(ones - 0.5) < 5 * 0.5 / math.sqrt(8 * noise.size)


@pytest.mark.parametrize("mode", [b"4", b"5"])
def test_without_a_source_there_is_no_noise(mode):
    assert heard(running(mode), 50) == b""


@pytest.mark.parametrize("firmware", [2, 3])
def test_the_version_comes_while_it_runs_and_not_before(firmware):
    source = a_source(firmware)
    source.receive(b"cmd4cmdwcmdv")
    assert heard(source, 5) == b""
    source.receive(b"cmdO")
    assert heard(source, 5).startswith(b"\r\nVersion %d\r\n" % firmware)


def test_after_its_version_version_3_sends_what_its_pool_does_not_have_until_it_is_flushed():
    source = a_source(3)
    source.receive(b"cmd4\ncmdw\ncmdv\ncmdO\n")
    answer = heard(source)
    assert answer[:13] == b"\r\nVersion 3\r\n"
    assert len(answer) > POOL_BYTES
    assert not any(answer[13:])
    source = a_source(3)
    source.receive(b"cmd4\ncmdw\ncmdv\ncmdO\n")
    source.advance(TICK_S)
    source.sent(len(source.pending()))
    source.sent(len(source.pending()))
    source.receive(b"cmdw\n")
    assert heard(source, 5) == b""
    assert len(heard(running(firmware=2))) < NOISE_BYTES_PER_S * 2 * TICK_S


def test_a_command_may_stand_in_the_midst_of_anything_and_be_cut_anywhere():
    source = a_source()
    for piece in (b"xxcm", b"d", b"1zzcmdw cmmd", b"O cmd", b"O"):
        source.receive(piece)
    assert source.mode == 1
    assert not source.paused


@given(st.binary(max_size=64))
def test_no_bytes_break_it(data):
    source = a_source()
    source.receive(data)
    source.advance(0.001)
    source.pending()


def test_a_pool_that_nobody_reads_stays_full_and_is_stirred():
    source = a_source()
    source.receive(b"cmd1")
    source.advance(1.0)
    before = source._pool.copy()
    source.advance(0.1)
    changed = np.count_nonzero(source._pool != before)
    assert 0.4 * POOL_BYTES < changed < 0.7 * POOL_BYTES  # 4400 bytes XORed
    source.receive(b"cmdO")
    noise = b""
    while data := bytes(source.pending()):
        source.sent(len(data))
        noise += data
    assert len(noise) == POOL_BYTES


def test_a_line_that_is_stuck_makes_silence_and_the_led_flashes():
    source = running()
    heard(source, 5)
    assert source.led == "off"
    source.faults["stuck"](True)
    heard(source, 5)
    assert heard(source, 100) == b""
    assert source.led == "stuck-at-0"
    source.faults["stuck"](False)
    assert len(heard(source, 10)) > 0.9 * NOISE_BYTES_PER_S * 10 * TICK_S


def test_no_more_than_eight_bytes_of_zeros_or_ones_stand_in_a_row():
    source = running(firmware=2)
    source.fault = "biased"
    noise = np.frombuffer(heard(source, 100), np.uint8)
    run = longest = 0
    for byte in noise.tolist():
        run = run + 1 if byte == 0xFF else 0
        longest = max(longest, run)
    assert longest == LONGEST_RUN
    assert np.mean(noise == 0xFF) > 0.4


def test_a_picked_up_clock_repeats_one_byte():
    source = running()
    source.fault = "oscillating"
    heard(source, 20)
    assert len(set(heard(source, 20))) == 1


def test_with_power_it_is_paused_and_whitens():
    source = running()
    assert heard(source, 5)
    source.power_cycle()
    assert heard(source, 50) == b""
    assert source.mode == 0


def test_the_same_seed_has_the_same_noise():
    assert heard(running(), 20) == heard(running(), 20)
