"""Nothing that a neighbour can say breaks a node, or makes it keep what it should not."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.relay import messages as wire
from qkdd.relay.first_end import FirstEnd
from qkdd.relay.messages import DownMessage, LaneMessage, UpMessage
from qkdd.relay.pool import UnitRef
from qkdd.relay.runs import MAX_RUN, Run, bitmap_of, numbers_in, numbers_of, runs_of
from qkdd.relay.settings import LaneTimes
from qkdd.relay.speech import Speech, bound_in, ciphers_in
from tests.relay.chain import Chain, a_lane

NUMBERS = st.one_of(st.integers(0, 40), st.integers(0, 2**48 - 1), st.just(0))
COUNTS = st.one_of(st.integers(1, 24), st.integers(1, MAX_RUN))
HEAD = {"lane": st.just("lane"), "generation": st.sampled_from([0, 0, 0, 1])}
RANGE = {**HEAD, "first": NUMBERS, "count": COUNTS}
BITMAP = st.one_of(st.sampled_from([b"", b"\xff", b"\xff\xff", b"\x01\x00"]), st.binary(max_size=9))
TAG = st.binary(min_size=16, max_size=16)
PAIR = st.integers(0, 50)
RUNS = st.lists(st.tuples(NUMBERS, COUNTS), max_size=4).map(tuple)
ANY_MESSAGE = st.one_of(
    st.builds(wire.LaneOpen, **HEAD, incarnation=st.integers(0, 3), next_number=NUMBERS, runs=RUNS),
    st.builds(wire.LaneAnnounce, **RANGE),
    st.builds(wire.LaneBind, **RANGE, block_no=st.integers(0, 3), unit=st.integers(0, 30)),
    st.builds(
        lambda first, ciphers: wire.LaneWave(
            lane="lane",
            generation=0,
            first=first,
            count=max(1, len(ciphers) // 32),
            ciphers=ciphers,
        ),
        NUMBERS,
        st.binary(min_size=32, max_size=99),
    ),
    st.builds(wire.LaneVoid, **RANGE),
    st.builds(
        wire.LaneConfirm, **RANGE, pair=PAIR, end_pair=PAIR, epoch=NUMBERS, held=BITMAP, tag=TAG
    ),
    st.builds(
        wire.LaneVerdict,
        **RANGE,
        pair=PAIR,
        ready=BITMAP,
        void=BITMAP,
        renew=st.booleans(),
        tag=TAG,
    ),
)


@pytest.mark.parametrize("node", [0, 1, 2])
@given(said=st.lists(ANY_MESSAGE, max_size=12), from_up=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_words_of_a_neighbour_break_a_node(
    node: int, said: list[LaneMessage], from_up: bool
) -> None:
    chain = Chain(a_lane(2), LaneTimes(batch_units=4))
    chain.connect_all()
    chain.pass_time(0)
    chain.light(8)
    for _ in range(3):
        chain.deliver_down(0), chain.deliver_down(1)
    machine = chain.nodes[node]
    for message in said:
        data = msgspec.msgpack.encode(message)
        with suppress(msgspec.DecodeError, PeerError, SecurityAlarm):  # nothing else may come out
            if isinstance(machine, FirstEnd):
                up = msgspec.msgpack.decode(data, type=UpMessage)
                chain._carry_out(node, machine.receive_from_down(up))
            elif from_up or node == 2:
                down = msgspec.msgpack.decode(data, type=DownMessage)
                more = (chain.epoch,) if node == 2 else ()
                chain._carry_out(node, machine.receive_from_up(down, 0.0, *more))
            else:
                up = msgspec.msgpack.decode(data, type=UpMessage)
                chain._carry_out(node, machine.receive_from_down(up, 0.0))
        assert not chain.disks[0].ready
        assert not chain.disks[2].ready
    chain.pass_time(1_000)
    for account in (one for pair in chain.accounts for one in pair):
        assert account.under_way >= 0
        assert account.cut == 8 * 256


@given(st.sets(st.integers(0, 20_000)))
def test_runs_hold_the_same_numbers_rising(numbers: set[int]) -> None:
    runs = runs_of(numbers)
    assert [number for run in runs for number in run] == sorted(numbers)
    assert numbers_of([(run.first, run.count) for run in runs], 20_001, "test") == sorted(numbers)


def test_a_long_run_is_cut_at_the_limit_of_a_message() -> None:
    assert runs_of(range(7, 7 + MAX_RUN + 5)) == [Run(7, MAX_RUN), Run(7 + MAX_RUN, 5)]


@pytest.mark.parametrize("runs", [[(5, 3), (7, 1)], [(9, 1), (5, 1)], [(0, 101)]])
def test_runs_that_overlap_fall_or_exceed_the_limit_are_the_peers_fault(
    runs: list[tuple[int, int]],
) -> None:
    with pytest.raises(PeerError, match="test"):
        numbers_of(runs, 100, "test")


@given(st.integers(0, 2**40), st.sets(st.integers(0, 99)))
def test_bitmaps_come_back(first: int, offsets: set[int]) -> None:
    run, numbers = Run(first, 100), sorted(first + offset for offset in offsets)
    assert numbers_in(run, bitmap_of(run, numbers), "test") == numbers


@pytest.mark.parametrize("bitmap", [b"", b"\xff", b"\xff\xff\x00", b"\xff\x04"])
def test_a_bitmap_of_another_length_is_the_peers_fault(bitmap: bytes) -> None:
    with pytest.raises(PeerError, match="verdict"):
        numbers_in(Run(0, 10), bitmap, "verdict")


@given(
    st.dictionaries(
        st.integers(0, 40), st.builds(UnitRef, st.integers(1, 3), st.integers(0, 9)), max_size=20
    )
)
def test_bindings_and_waves_say_just_what_they_were_given(refs: dict[int, UnitRef]) -> None:
    speech = Speech(a_lane(2))
    heard: dict[int, UnitRef] = {}
    for bind in speech.bindings(refs):
        heard |= bound_in(bind)
    assert heard == refs
    ciphers = {number: bytes([number]) * 32 for number in refs}
    waves: dict[int, bytes] = {}
    for wave in speech.waves(ciphers):
        waves |= ciphers_in(wave)
    assert waves == ciphers


def test_a_wave_of_another_length_is_the_peers_fault() -> None:
    wave = wire.LaneWave(lane="lane", generation=0, first=1, count=2, ciphers=bytes(33))
    with pytest.raises(PeerError, match="33 bytes in a wave of 2"):
        ciphers_in(wave)
