"""Bob and Alice sift blocks over an in-memory wire; and each against a peer that lies."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qkdd.base.bits import pack
from qkdd.base.choices import ChoiceSource
from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo
from qkdd.base.light import Basis, Intensities, LightPlan
from qkdd.base.secret import Secret
from qkdd.sift.alice import AliceSifter
from qkdd.sift.block import SiftedBlock
from qkdd.sift.bob import BobSifter
from qkdd.sift.gaps import encode_gaps
from qkdd.sift.messages import Clicks, Kept, TestErrors

PLAN = LightPlan(
    pulse_rate_hz=100_000_000,
    preamble_pulses=100_000,
    frame_pulses=100_000,
    calibration_pulses=1_000,
    ramp_frames=(3,),
)
INTENSITIES = Intensities(
    signal_probability=0.5, weak_probability=0.3, key_basis_probability=0.6, vacuum_mu=0.01
)
BLOCK = BlockNo(7)
SEED = bytes(range(32))
CHUNK = 64
M = TypeVar("M", bound=msgspec.Struct)


def choices() -> ChoiceSource:
    return ChoiceSource(Secret.from_bytes(SEED), INTENSITIES)


def an_alice(chunk_clicks: int = CHUNK) -> AliceSifter:
    return AliceSifter(BLOCK, choices(), PLAN, 0, chunk_clicks=chunk_clicks)


@dataclass(frozen=True)
class Detected:
    """Clicks of a whole block, and what they should become, pulse by pulse in plain Python."""

    slots: np.ndarray
    detectors: np.ndarray

    def frames(self) -> list[tuple[np.ndarray, np.ndarray]]:
        edges = np.searchsorted(self.slots, np.arange(0, 400_000, 100_000))
        return [
            (self.slots[a:b].astype(np.uint32), self.detectors[a:b])
            for a, b in itertools.pairwise(edges)
        ]


def detections(n: int, dice: np.random.Generator, error: float = 0.05) -> Detected:
    """Clicks in payload pulses: bit as sent when the bases are equal, but for errors."""
    payload = np.concatenate([np.arange(f * 100_000 + 1_000, (f + 1) * 100_000) for f in range(3)])
    slots = np.sort(dice.choice(payload, n, replace=False))
    states = choices().states(slots)
    bases = dice.integers(0, 2, n).astype(np.uint8)
    bits = np.where(bases == (states >> 1 & 1), states & 1, dice.integers(0, 2, n))
    bits = bits ^ (dice.random(n) < error)
    return Detected(slots, (bases * 2 + bits).astype(np.uint8))


def sift(
    detected: Detected, chunk_clicks: int = CHUNK
) -> tuple[SiftedBlock, SiftedBlock, AliceSifter, BobSifter]:
    alice, bob = an_alice(chunk_clicks), BobSifter(BLOCK, chunk_clicks=chunk_clicks)
    for slots, detectors in detected.frames():
        bob.add(slots, detectors)
    bob.close()
    for clicks in bob.announce():
        assert not alice.complete
        alice.receive(roundtrip(clicks))
    theirs = [bob.receive(roundtrip(kept)) for kept in alice.reply()]
    assert [block is None for block in theirs] == [True] * (len(theirs) - 1) + [False]
    assert theirs[-1] is not None
    return alice.sifted(roundtrip(bob.errors())), theirs[-1], alice, bob


def roundtrip(message: M) -> M:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 300), seed=st.integers(0, 2**32))
@example(n=120_000, seed=1)  # three eights to a column
def test_both_ends_hold_what_a_walk_over_the_clicks_gives(n: int, seed: int) -> None:
    detected = detections(n, np.random.default_rng(seed), error=0.2)
    alice, bob, _, _ = sift(detected)
    states = choices().states(detected.slots)
    key_alice, key_bob, intensities = [], [], []
    test, errors = [0, 0, 0], [0, 0, 0]
    for state, detector in zip(states.tolist(), detected.detectors.tolist(), strict=True):
        bit, basis, intensity = state & 1, state >> 1 & 1, state >> 2
        if basis != detector >> 1:
            continue
        if basis == 0:
            key_alice.append(bit)
            key_bob.append(detector & 1)
            intensities.append(intensity)
        else:
            test[intensity] += 1
            errors[intensity] += bit != detector & 1
    assert alice.key_bits.tolist() == in_order(key_alice)
    assert bob.key_bits.tolist() == in_order(key_bob)
    assert alice.key_intensities.tolist() == in_order(intensities)
    assert bob.key_intensities.tolist() == in_order(intensities)
    assert alice.counts == bob.counts
    assert alice.counts.test == tuple(test)
    assert alice.counts.test_errors == tuple(errors)
    assert alice.counts.key == tuple(intensities.count(i) for i in range(3))


def in_order(values: list[int]) -> list[int]:
    """Put the values of a block into the order of docs/protocol.md."""
    whole = len(values) - len(values) % 8192
    eights = [values[i : i + 8] for i in range(0, whole, 8)]
    columns = [eights[first::1024] for first in range(1024)]
    return [one for column in columns for eight in column for one in eight] + values[whole:]


def test_chunking_does_not_matter() -> None:
    detected = detections(1_000, np.random.default_rng(3))
    whole, pieces = sift(detected, 1 << 18), sift(detected, 13)
    for one, other in zip(whole[:2], pieces[:2], strict=True):
        assert np.array_equal(one.key_bits, other.key_bits)
        assert np.array_equal(one.key_intensities, other.key_intensities)
        assert one.counts == other.counts


def test_a_block_without_a_click_is_sifted_too() -> None:
    alice, bob, _, _ = sift(detections(0, np.random.default_rng(0)))
    assert alice.counts == bob.counts
    assert alice.key_bits.size == bob.key_bits.size == 0


def test_nothing_of_a_block_leaves_bob_before_it_ends() -> None:
    bob = BobSifter(BLOCK)
    with pytest.raises(RuntimeError, match="not ended"):
        bob.announce()


def test_nothing_leaves_alice_before_the_list_is_complete() -> None:
    alice, _, messages = a_conversation()
    for message in messages:
        with pytest.raises(RuntimeError, match="not complete"):
            alice.reply()
        alice.receive(message)
    assert len(list(alice.reply())) == len(messages)


def test_the_seed_is_gone_when_the_list_is_complete() -> None:
    seed = Secret.from_bytes(SEED)
    alice = AliceSifter(BLOCK, ChoiceSource(seed, INTENSITIES), PLAN, 0, chunk_clicks=CHUNK)
    for message in a_conversation()[2]:
        assert not seed.wiped
        alice.receive(message)
    assert seed.wiped


def test_bob_gives_a_chunk_of_raw_key_back_as_soon_as_it_is_sifted() -> None:
    alice, bob, messages = a_conversation()
    for message in messages:
        alice.receive(message)
    first = bob._clicks.chunk(0)
    bob.receive(next(alice.reply()))
    assert not first.bits.any()
    with pytest.raises(RuntimeError, match="wiped"):
        bob._clicks.chunk(0)


def a_conversation(n: int = 200) -> tuple[AliceSifter, BobSifter, list[Clicks]]:
    bob = BobSifter(BLOCK, chunk_clicks=CHUNK)
    for slots, detectors in detections(n, np.random.default_rng(5)).frames():
        bob.add(slots, detectors)
    bob.close()
    return an_alice(), bob, list(bob.announce())


def clicks_at(*slots: int, bases: bytes | None = None, n_clicks: int | None = None) -> Clicks:
    n = len(slots)
    return Clicks(
        block_no=BLOCK,
        chunk=0,
        n_clicks=n if n_clicks is None else n_clicks,
        gaps=encode_gaps(np.array(slots, np.uint32), -1).tobytes(),
        bases=bytes(-(-n // 8)) if bases is None else bases,
    )


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (clicks_at(999), "calibration"),
        (clicks_at(5_000, 100_000), "calibration"),
        (clicks_at(5_000, 300_000), "past the end"),
        (clicks_at(5_000, 2**32 - 1), "past the end"),
        (clicks_at(5_000, 6_000, bases=b"\x04"), "padding"),
        (clicks_at(5_000, 6_000, bases=b""), "bytes"),
        (clicks_at(5_000, 6_000, n_clicks=3), "gaps for 3 clicks"),
        (clicks_at(5_000, 6_000, n_clicks=1), "gaps for 1 clicks"),
        (clicks_at(5_000, n_clicks=297_001), "297000 payload pulses"),
        (msgspec.structs.replace(clicks_at(5_000), chunk=1), "0 is due"),
        (msgspec.structs.replace(clicks_at(5_000), block_no=8), "block 8"),
        (msgspec.structs.replace(clicks_at(5_000), gaps=b"\x88"), "bytes"),
        (msgspec.structs.replace(clicks_at(5_000), gaps=b"\x00\x00"), "gap is 0"),
        (msgspec.structs.replace(clicks_at(5_000), gaps=b"\xff\xff"), "does not end"),
        (
            msgspec.structs.replace(clicks_at(5_000, 6_000), gaps=b"\x00\x20\x00\x00"),
            "gap is 0",
        ),
    ],
)
def test_clicks_that_cannot_be_are_bobs_fault_and_change_nothing(
    message: Clicks, complaint: str
) -> None:
    alice, bob, messages = a_conversation()
    with pytest.raises(PeerError, match=complaint):
        alice.receive(message)
    finish(alice, bob, messages)


def finish(alice: AliceSifter, bob: BobSifter, messages: list[Clicks]) -> SiftedBlock:
    for message in messages:
        alice.receive(message)
    blocks = [bob.receive(kept) for kept in alice.reply()]
    assert blocks[-1] is not None
    block = alice.sifted(bob.errors())
    assert block.counts == blocks[-1].counts
    return block


def test_alice_refuses_a_list_that_changes_its_length_repeats_or_goes_on() -> None:
    alice, bob, messages = a_conversation()
    alice.receive(messages[0])
    with pytest.raises(PeerError, match="1 is due"):
        alice.receive(messages[0])
    with pytest.raises(PeerError, match="201 clicks announced, 200 before"):
        alice.receive(msgspec.structs.replace(messages[1], n_clicks=201))
    for message in messages[1:]:
        alice.receive(message)
    with pytest.raises(PeerError, match="was complete"):
        alice.receive(messages[-1])
    blocks = [bob.receive(kept) for kept in alice.reply()]
    assert blocks[-1] is not None


def change(**fields: object) -> Callable[[Kept], Kept]:
    return lambda kept: msgspec.structs.replace(kept, **fields)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (change(block_no=8), "block 8"),
        (change(chunk=1), "0 is due"),
        (change(kept=b"\xff" * 7), "packed bits"),
        (change(kept=b"\xff" * 8), "packed bits"),
        (change(weak=b""), "packed bits"),
        (change(test_bits=b""), "packed bits"),
        (lambda kept: msgspec.structs.replace(kept, weak=kept.vacuum), "weak and vacuum"),
    ],
)
def test_kept_that_cannot_be_is_alices_fault_and_changes_nothing(
    spoil: Callable[[Kept], Kept], complaint: str
) -> None:
    alice, bob, messages = a_conversation()
    for message in messages:
        alice.receive(message)
    replies = list(alice.reply())
    assert any(replies[0].vacuum)
    with pytest.raises(PeerError, match=complaint):
        bob.receive(spoil(replies[0]))
    blocks = [bob.receive(kept) for kept in replies]
    assert blocks[-1] is not None
    with pytest.raises(PeerError, match="already sifted"):
        bob.receive(replies[-1])


def test_kept_before_the_whole_list_was_said_is_alices_fault() -> None:
    bob = BobSifter(BLOCK, chunk_clicks=CHUNK)
    early = Kept(block_no=BLOCK, chunk=0, kept=b"", weak=b"", vacuum=b"", test_bits=b"")
    with pytest.raises(PeerError, match="before its clicks"):
        bob.receive(early)
    bob.close()
    with pytest.raises(PeerError, match="before its clicks"):
        bob.receive(early)
    list(bob.announce())
    assert bob.receive(early) is not None


def test_test_errors_too_early_too_many_or_twice_are_bobs_fault() -> None:
    alice, bob, messages = a_conversation()
    none = TestErrors(block_no=BLOCK, errors=(0, 0, 0))
    with pytest.raises(PeerError, match="before Kept"):
        alice.sifted(none)
    for message in messages:
        alice.receive(message)
    with pytest.raises(PeerError, match="before Kept"):
        alice.sifted(none)
    blocks = [bob.receive(kept) for kept in alice.reply()]
    assert blocks[-1] is not None
    n_weak = blocks[-1].counts.test[1]
    with pytest.raises(PeerError, match=f"{n_weak + 1} test errors in {n_weak}"):
        alice.sifted(TestErrors(block_no=BLOCK, errors=(0, n_weak + 1, 0)))
    with pytest.raises(PeerError, match="block 9"):
        alice.sifted(TestErrors(block_no=9, errors=(0, 0, 0)))
    assert alice.sifted(bob.errors()).counts == blocks[-1].counts
    with pytest.raises(PeerError, match="twice"):
        alice.sifted(bob.errors())


@given(data=st.binary(max_size=200))
@example(data=b"\x96\xa8\x00\x00\x00\x00\x00\x00\x00\x80")
def test_no_bytes_from_the_peer_break_either_end(data: bytes) -> None:
    alice, bob, messages = a_conversation(20)
    with suppress(msgspec.DecodeError, UnicodeDecodeError, PeerError):
        alice.receive(msgspec.msgpack.decode(data, type=Clicks))
    with suppress(msgspec.DecodeError, UnicodeDecodeError, PeerError):
        bob.receive(msgspec.msgpack.decode(data, type=Kept))
    finish(alice, bob, messages)


@given(
    gaps=st.binary(max_size=60),
    bases=st.binary(max_size=5),
    n=st.integers(0, 40),
    fields=st.tuples(*[st.binary(max_size=4)] * 4),
)
def test_no_well_formed_message_breaks_either_end(
    gaps: bytes, bases: bytes, n: int, fields: tuple[bytes, bytes, bytes, bytes]
) -> None:
    alice, bob, _ = a_conversation(20)
    with suppress(PeerError):
        alice.receive(Clicks(block_no=BLOCK, chunk=0, n_clicks=n, gaps=gaps, bases=bases))
    kept, weak, vacuum, test_bits = fields
    with suppress(PeerError):
        bob.receive(
            Kept(block_no=BLOCK, chunk=0, kept=kept, weak=weak, vacuum=vacuum, test_bits=test_bits)
        )


def test_a_voided_block_leaves_no_raw_key() -> None:
    alice, bob, messages = a_conversation()
    for message in messages:
        alice.receive(message)
    part, chunk = alice._key._parts[0], bob._clicks.chunk(0)
    alice.wipe()
    bob.wipe()
    assert not part.planes[0].any()
    assert not chunk.bits.any()


def test_a_block_too_long_for_its_slots_is_refused() -> None:
    plan = LightPlan(frame_pulses=1_000_000_000, ramp_frames=(16,))
    with pytest.raises(ValueError, match="exceeds"):
        AliceSifter(BLOCK, choices(), plan, 0)


def test_a_block_of_more_than_32_bits_of_pulses_sifts() -> None:
    plan = LightPlan(frame_pulses=1_000_000_000, ramp_frames=(15,))
    alice, bob = AliceSifter(BLOCK, choices(), plan, 0), BobSifter(BLOCK)
    slots = np.arange(60_000, 999_999_999, 123_456_789, dtype=np.uint32)
    expected = list[int]()
    for start in (0, 4_000_000_000, 5_000_000_000, 14_000_000_000):
        states = choices().states(slots.astype(np.int64) + start)
        bits, bases = states & 1, states >> 1 & 1
        bob.add(slots, bases * np.uint8(2) + bits, start)
        expected += bits[bases == Basis.KEY].tolist()
    bob.close()
    for clicks in bob.announce():
        alice.receive(roundtrip(clicks))
    (kept,) = alice.reply()
    theirs = bob.receive(roundtrip(kept))
    assert theirs is not None
    ours = alice.sifted(bob.errors())
    assert ours.counts.test_errors == (0, 0, 0)
    assert theirs.key_bits.tolist() == ours.key_bits.tolist() == expected


def test_packed_forms_are_little_endian() -> None:
    # slots 1000, 1003, 132073: gaps 1001, 3, 131070 = two escapes and 0; bases 1, 0, 1
    message = clicks_at(1_000, 1_003, 132_073, bases=pack(np.array([1, 0, 1], np.uint8)))
    assert message.gaps == bytes.fromhex("e903 0300 ffff ffff 0000")
    assert message.bases == b"\x05"
    an_alice().receive(message)
