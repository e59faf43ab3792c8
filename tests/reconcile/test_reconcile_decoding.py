"""Bob's decoder goes on where the last round stopped, and keeps nothing longer than it must."""

import numpy as np
import numpy.typing as npt

from qkdd.kernels import ldpc
from qkdd.reconcile import decoding
from qkdd.reconcile.codes import FRAME_BITS, code_for, graph
from qkdd.reconcile.decoding import Decoder
from qkdd.reconcile.frames import Frame
from qkdd.reconcile.likelihood import steps, tables

QBER = 0.02
CODE = code_for(0.85 * QBER)  # fails at first, and succeeds in a later round
FRAME = Frame(0, FRAME_BITS, CODE)
INTENSITIES = np.zeros(FRAME_BITS, np.uint8)


def a_frame(seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Alice's bits and Bob's."""
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, FRAME_BITS, np.uint8)
    return alice, alice ^ (rng.random(FRAME_BITS) < QBER).astype(np.uint8)


def parities(alice: npt.NDArray[np.uint8], round_no: int) -> npt.NDArray[np.uint8]:
    return ldpc.syndrome(graph(CODE, 0, CODE.rows_after(round_no)), alice)


def run(decoder: Decoder, alice, bob, frame: Frame = FRAME) -> int:
    """Decode round after round; return the round that succeeded."""
    for round_no in range(9):
        found = decoder.correct(frame, round_no, bob, INTENSITIES, parities(alice, round_no))
        if found is not None:
            assert np.array_equal(found, alice)
            return round_no
    raise AssertionError("eight rounds were not enough")


def messages_of(decoder: Decoder) -> list[npt.NDArray[np.int8]]:
    return [kept.room[: kept.n_bytes] for kept in decoder._kept.values()]


def test_a_frame_that_failed_goes_on_and_nothing_is_kept_once_it_succeeds() -> None:
    decoder = Decoder(20_000, 40, None)
    alice, bob = a_frame(1)
    assert decoder.correct(FRAME, 0, bob, INTENSITIES, parities(alice, 0)) is None
    (first,) = messages_of(decoder)
    assert first.any()
    assert run(decoder, alice, bob) > 0
    assert not first.any()
    assert messages_of(decoder) == []


def test_going_on_takes_fewer_passes_than_beginning_anew() -> None:
    likelihoods, table = np.full(FRAME_BITS, steps(QBER), np.int8), tables()
    warm_passes = cold_passes = 0
    for seed in range(4):
        errors = np.bitwise_xor(*a_frame(seed))
        before = np.empty(0, np.int8)
        for round_no in range(9):
            rows = graph(CODE, 0, CODE.rows_after(round_no))
            problem = (
                rows,
                likelihoods,
                ldpc.syndrome(rows, errors),
                table.phi,
                table.inverse,
                table.near,
                40,
            )
            messages = ldpc.new_messages(rows)
            messages[: before.size] = before
            warm_rows = before.size and CODE.rows_after(round_no - 1)
            warm, _ = ldpc.decode(*problem, messages=messages, warm_rows=warm_rows)
            cold, _ = ldpc.decode(*problem)
            if warm > 0 and cold > 0:
                break
            before = messages
        warm_passes += warm
        cold_passes += cold
    assert 0 < warm_passes < cold_passes


def test_what_is_kept_is_wiped_with_its_frame_and_with_the_decoder() -> None:
    alice, bob = a_frame(2)
    other = Frame(FRAME_BITS, FRAME_BITS, CODE)
    decoder = Decoder(20_000, 40, None)
    for frame in (FRAME, other):
        assert decoder.correct(frame, 0, bob, INTENSITIES, parities(alice, 0)) is None
    first, second = messages_of(decoder)
    decoder.forget(FRAME)
    assert not first.any()
    assert second.any()
    del decoder
    assert not second.any()


def test_without_room_a_frame_begins_each_round_anew(monkeypatch) -> None:
    monkeypatch.setattr(decoding, "KEPT_BYTES", 0)
    alice, bob = a_frame(1)
    decoder = Decoder(20_000, 40, None)
    assert decoder.correct(FRAME, 0, bob, INTENSITIES, parities(alice, 0)) is None
    assert messages_of(decoder) == []
    assert run(decoder, alice, bob) > 0
