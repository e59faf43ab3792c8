"""Conversations with the simulated board: every rule of docs/encoder-protocol.md."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.kernels.expand import expand_states
from drivers.kernels.walk import states_of
from drivers.sim.state_encoder import Closed, State, StateEncoder
from tests.drivers.sim.board_host import (
    BOARD_NONCE,
    FRAME,
    HOST_NONCE,
    KEY,
    MS,
    NONE,
    Host,
    S,
    a_host,
    configuration,
    is_dark,
    seed_of,
)


def by_the_book(block: int, indices: list[int], *, calibration: bool = False) -> list[int]:
    return expand_states(
        seed_of(block),
        np.array(indices),
        key_threshold=1 << 14 if calibration else 27_525,
        signal_threshold=1 << 16 if calibration else 42_598,
        weak_threshold=0 if calibration else 19_005,
    ).tolist()


def test_the_board_says_what_it_is() -> None:
    fields, texts = a_host().ask(1), []
    while fields:
        texts.append(fields[1 : 1 + fields[0]].decode())
        fields = fields[1 + fields[0] :]
    assert texts == ["QMSE-1 (simulated)", "1.0", "SIM-0001"]


def test_a_run_from_configure_to_stop() -> None:
    host = a_host()
    assert host.status() == (0, 0, 0, NONE, 0)
    host.ask(2, configuration())
    assert host.status() == (1, 0, 0, NONE, 0)
    assert [host.load(block) for block in (NONE, 0, 1, 2)] == [0, 0, 0, 0]
    assert host.status() == (1, 0, 0, NONE, 3)
    host.now_ns = 5 * S
    host.ask(4, struct.pack("<Q", 77))
    host.wait(50 * MS)
    assert host.status() == (2, 77, 50_000, NONE, 3)
    host.wait(100 * MS)
    assert host.status() == (2, 77, 150_000, 0, 3)
    host.wait(250 * MS)
    assert host.status() == (2, 77, 400_000, 1, 2)
    host.ask(5)
    assert host.status() == (1, 77, 400_000, NONE, 0)
    assert is_dark(host)


def test_the_light_shows_the_states_of_the_seeds_and_the_seeds_go() -> None:
    host = a_host(blocks=2, running=True)
    light = host.board.light
    host.wait(400 * MS)
    emission = light.take(host.now_ns)
    assert emission is not None
    assert (emission.first, emission.stop) == (0, 400_000)
    pulses = np.array([5, 99_999, 100_999, 101_000, 299_999, 300_000, 301_000, 399_999])
    book = [
        *by_the_book(NONE, [5, 99_999, 100_999], calibration=True),
        *by_the_book(0, [1_000, 199_999]),
        *by_the_book(NONE, [300_000], calibration=True),
        *by_the_book(1, [1_000, 99_999]),
    ]
    segments = light.segments(5, 400_000 - 5)
    assert states_of(pulses - 5, segments).tolist() == book
    assert [one.stop + 5 for one in segments] == [100_000, 101_000, 300_000, 301_000, 500_000]
    light.walked(emission.stop)
    assert sorted(light.seeds.blocks) == [1]
    assert bytes(light.seeds.blocks[1]) == seed_of(1)


def test_seeds_are_wiped_even_if_no_model_walks_the_light() -> None:
    host = a_host(blocks=16, running=True)
    seeds = dict(host.board.light.seeds.blocks)
    for _ in range(11):
        host.wait(500 * MS)
        host.status()
    assert host.status()[0] == State.RUNNING
    assert not any(seeds[0])
    assert not any(seeds[1])
    assert 0 not in host.board.light.seeds.blocks


@pytest.mark.parametrize(
    ("opcode", "fields", "status"),
    [
        (0x07, b"", 2),
        (0x07, b"\0\0", 2),
        (0x07, b"\3", 3),
        (0x07, b"\0", 4),
        (0x08, b"", 1),
        (0x00, b"", 1),
        (0x01, b"x", 2),
        (0x02, b"", 2),
        (0x02, configuration()[:-1], 2),
        (0x02, configuration() + b"\0", 2),
        (0x02, configuration(ramp=()), 3),
        (0x02, configuration(ramp=(1,) * 17), 3),
        (0x02, configuration(ramp=(1, 0)), 3),
        (0x02, configuration(rate=0), 3),
        (0x02, configuration(calibration=FRAME), 3),
        (0x02, configuration(key=32_769), 3),
        (0x02, configuration(signal=60_000, weak=6_000), 3),
        (0x02, configuration(weak_ratio=float("nan")), 3),
        (0x02, configuration(vacuum_ratio=-0.1), 3),
        (0x03, bytes(39), 2),
        (0x03, bytes(40), 4),
        (0x04, bytes(7), 2),
        (0x04, bytes(8), 4),
        (0x06, b"?", 2),
    ],
)
def test_a_wrong_request_is_declined_with_its_status_and_changes_nothing(
    opcode: int, fields: bytes, status: int
) -> None:
    host = a_host()
    got, text = host.try_(opcode, fields)
    assert (got, bool(text.decode())) == (status, True)
    assert host.status() == (0, 0, 0, NONE, 0)


def test_start_without_its_seeds_is_declined() -> None:
    host = a_host()
    host.ask(2, configuration())
    assert host.load(0) == 0
    assert host.try_(4, bytes(8))[0] == 5
    host.ask(5)
    assert host.load(NONE) == 0
    assert host.try_(4, bytes(8))[0] == 5


def test_seeds_are_accepted_only_for_blocks_to_come_and_only_once() -> None:
    host = a_host(blocks=2, running=True)
    assert host.load(1) == 4
    assert host.load(NONE) == 4
    host.wait(150 * MS)
    assert host.load(0) == 4
    assert [host.load(block) for block in range(2, 17)] == [0] * 15
    assert host.load(17) == 3
    assert host.load(0) == 4
    assert host.status() == (2, 77, 150_000, 0, 17)


def test_configure_and_start_are_declined_while_running() -> None:
    host = a_host(blocks=1, running=True)
    assert host.try_(2, configuration())[0] == 4
    assert host.try_(4, bytes(8))[0] == 4
    assert host.status()[0] == State.RUNNING


def test_a_block_without_its_seed_is_a_fault_at_its_first_pulse() -> None:
    host = a_host(blocks=1, running=True)
    host.wait(300 * MS)
    assert host.status() == (2, 77, 300_000, 0, 0)  # its first pulse is the next one
    host.wait(10 * MS)
    assert host.status() == (3, 77, 300_000, NONE, 0)
    assert is_dark(host)
    assert host.load(5) == 4
    assert host.try_(4, bytes(8))[0] == 4
    host.ask(2, configuration())
    assert host.status()[0] == State.CONFIGURED


def test_stop_ends_a_fault_and_keeps_the_configuration() -> None:
    host = a_host(blocks=1, running=True)
    host.wait(400 * MS)
    host.ask(5)
    assert host.status() == (1, 77, 300_000, NONE, 0)
    assert [host.load(block) for block in (NONE, 0)] == [0, 0]
    host.ask(4, struct.pack("<Q", 78))
    assert host.status() == (2, 78, 0, NONE, 1)


def test_a_second_of_silence_is_a_fault() -> None:
    host = a_host(blocks=16, running=True)
    host.wait(S)
    assert host.status()[0] == State.RUNNING
    host.wait(600 * MS)
    host.try_(0x55)  # a refused request counts
    host.wait(600 * MS)
    host.try_(0x55)
    host.wait(S + 10 * MS)
    assert is_dark(host)
    assert host.status() == (3, 77, 3_200_000, NONE, 0)


def test_silence_is_no_fault_when_nothing_is_emitted() -> None:
    host = a_host(blocks=1)
    host.wait(10 * S)
    assert host.status() == (1, 0, 0, NONE, 1)


EXACT = (1.0, 1.0, 1.0)


def test_levels_are_shown_one_after_the_other_and_stop_ends_it() -> None:
    host = a_host()
    host.ask(2, configuration())
    passes = [host.board.transmission(EXACT)]
    for level in range(3):
        host.ask(7, bytes([level]))
        assert host.status() == (4, 0, 0, NONE, 0)
        passes.append(host.board.transmission(EXACT))
        assert host.board.light.take(host.now_ns + S) is None
    assert passes == [0.002, 1.0, 0.38, 0.002]
    host.ask(7, b"\0")
    host.ask(5)
    assert host.status() == (1, 0, 0, NONE, 0)
    assert host.board.transmission(EXACT) == 0.002


def test_a_level_needs_no_seed_and_keeps_those_that_wait_for_the_start() -> None:
    host = a_host()
    host.ask(2, configuration())
    host.ask(7, b"\1")
    assert host.try_(4, bytes(8))[0] == 5
    assert host.try_(2, configuration())[0] == 4
    assert host.status()[0] == State.SHOWING
    assert [host.load(block) for block in (NONE, 0)] == [0, 0]
    host.ask(7, b"\2")
    assert host.status() == (4, 0, 0, NONE, 1)
    host.ask(4, struct.pack("<Q", 77))
    host.wait(150 * MS)
    assert host.status() == (2, 77, 150_000, 0, 1)
    assert host.try_(7, b"\0")[0] == 4
    assert host.status() == (2, 77, 150_000, 0, 1)


def test_a_level_is_dark_after_a_second_of_silence_and_its_seeds_are_gone() -> None:
    host = a_host(blocks=1)
    host.ask(7, b"\0")
    host.wait(600 * MS)
    host.try_(0x55)
    host.wait(S)
    assert host.status()[0] == State.SHOWING
    host.wait(S + 10 * MS)
    assert is_dark(host)
    assert host.board.transmission(EXACT) == 0.002
    assert host.status() == (3, 0, 0, NONE, 0)
    assert host.try_(7, b"\0")[0] == 4


def test_a_level_ends_with_the_connection() -> None:
    host = a_host(blocks=1)
    host.ask(7, b"\0")
    host.board.disconnected()
    assert is_dark(host)
    host.hello()
    assert host.status() == (1, 0, 0, NONE, 0)
    assert host.board.transmission(EXACT) == 0.002


def test_a_modulator_passes_the_mean_of_a_frame_in_a_run_and_all_of_the_preamble() -> None:
    host = a_host(blocks=2, running=True)
    host.wait(50 * MS)
    assert host.board.transmission(EXACT) == 1.0
    host.wait(100 * MS)
    signal, weak, calibration = 42_598 / 65_536, 19_005 / 65_536, 1_000 / 200_000
    for weak_error, vacuum_error in ((1.0, 1.0), (1.1, 5.0)):
        vacuum = (1 - signal - weak) * 0.002 * vacuum_error
        mean = calibration + (1 - calibration) * (signal + weak * 0.38 * weak_error + vacuum)
        passes = host.board.transmission((1.0, weak_error, vacuum_error))
        assert passes == pytest.approx(mean, rel=1e-12)


def test_an_encoder_that_nobody_has_configured_passes_nothing() -> None:
    assert a_host().board.transmission(EXACT) == 0.0


def test_the_end_of_the_connection_is_dark_and_the_next_client_can_begin() -> None:
    host = a_host(blocks=3, running=True)
    host.wait(50 * MS)
    seeds = [*host.board.light.seeds.blocks.values()]
    host.board.disconnected()
    assert is_dark(host)
    assert not any(any(seed) for seed in seeds)
    host.hello()
    assert host.status() == (1, 77, 50_000, NONE, 0)


@pytest.mark.parametrize("tampered_byte", [0, 3, 4, 5, 20])
def test_a_tampered_frame_ends_the_connection_in_the_dark(tampered_byte: int) -> None:
    host = a_host(blocks=3, running=True)
    good, bad = host.sealed(b"\x06"), bytearray(host.sealed(b"\x06"))
    bad[tampered_byte] ^= 0x80
    with pytest.raises(Closed) as closed:
        host.board.receive(good + bytes(bad) + bytes(4096), host.now_ns)
    assert len(host.opened(closed.value.last_words)) == 1
    assert is_dark(host)


def test_a_frame_is_good_only_once_and_only_in_order() -> None:
    host = a_host()
    first = host.sealed(b"\x06")
    host.opened(host.board.receive(first, 0))
    with pytest.raises(Closed, match="does not open"):
        host.board.receive(first, 0)


@pytest.mark.parametrize("length", [0, 16, 4097, 1 << 31])
def test_a_length_out_of_range_ends_the_connection_at_once(length: int) -> None:
    host = a_host()
    with pytest.raises(Closed, match=rf"{length} sealed bytes"):
        host.board.receive(length.to_bytes(4, "little"), 0)


def test_a_host_with_another_board_key_is_turned_away() -> None:
    host = Host(key=bytes(32))
    host.hello()
    with pytest.raises(Closed, match="does not open"):
        host.board.receive(host.sealed(b"\x01"), 0)


def test_a_host_of_another_version_hears_the_boards_version() -> None:
    host = Host()
    with pytest.raises(Closed, match="version 1") as closed:
        host.board.receive(b"QMSE\x01\0\0\0" + HOST_NONCE, 0)
    assert closed.value.last_words == b"QMSE\x02\0\0\0" + BOARD_NONCE


@pytest.mark.parametrize("hello", [b"QMSF\x01\0\0\0", b"QMSE\x02\1\0\0", b"QMSE\x02\0\0\1"])
def test_something_else_than_a_host_hears_nothing(hello: bytes) -> None:
    with pytest.raises(Closed) as closed:
        Host().board.receive(hello + HOST_NONCE, 0)
    assert closed.value.last_words == b""


@given(st.lists(st.integers(1, 40), max_size=30))
def test_chunking_does_not_matter(sizes: list[int]) -> None:
    host = a_host()
    requests = [b"\x01", b"\x02" + configuration(), b"\x09", b"\x06"]
    stream = b"".join(host.sealed(request) for request in requests)
    answers, at = b"", 0
    for size in [*sizes, len(stream)]:
        answers += host.board.receive(stream[at : at + size], 0)
        at += size
    assert [payload[:2].hex() for payload in host.opened(answers)] == [
        "8100",
        "8200",
        "8901",
        "8600",
    ]


@given(st.binary(max_size=80), st.booleans())
def test_no_bytes_break_the_board(data: bytes, after_hello: bool) -> None:
    board = StateEncoder(KEY, lambda n: BOARD_NONCE[:n])
    board.connected()
    if after_hello:
        board.receive(b"QMSE\x02\0\0\0" + HOST_NONCE, 0)
    try:
        answer = board.receive(data, 1)
    except Closed:
        answer = b""
    assert len(answer) in (0, 24)
    assert board.state is State.NOT_CONFIGURED


@given(st.integers(0, 255), st.binary(max_size=90))
def test_no_request_breaks_a_running_board(opcode: int, fields: bytes) -> None:
    host = a_host(blocks=1, running=True)
    status, _ = host.try_(opcode, fields)
    assert 0 <= status <= 5
    assert len(host.ask(6)) == 26
