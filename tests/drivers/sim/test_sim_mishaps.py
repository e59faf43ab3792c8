"""Hands at plugs and wires: what a host still gets to read, and that all comes back in its time."""

import math

import numpy as np
import pytest

from drivers.sim.cable import STRANGER, Cable, Wire
from drivers.sim.config import read_lab
from drivers.sim.control import ControlRefused, FaultOrder, KickOrder, StatusOrder
from drivers.sim.lab import RunningLab
from drivers.sim.mishaps import SWAP_NS, Mishaps, NoSuchFault
from drivers.sim.optics.polarization import port_chances
from drivers.sim.state_encoder import State
from tests.drivers.sim.test_sim_bench import BRIGHT, a_bench, clicks, lit, take, wait
from tests.drivers.sim.test_sim_lab import write_lab
from tests.drivers.sim.test_sim_serve import Parrot

S = 1_000_000_000


class Plug:
    """A server that only knows whether it is plugged in."""

    def __init__(self) -> None:
        self.plugged = True
        self.port_taken = False

    def plug(self) -> None:
        if self.port_taken:
            raise OSError("taken")
        self.plugged = True

    def unplug(self) -> None:
        self.plugged = False


def a_cable() -> tuple[Parrot, Cable]:
    parrot = Parrot()
    return parrot, Cable(parrot, np.random.Generator(np.random.Philox(1)))


def read(cable: Cable) -> bytes:
    said = bytes(cable.pending())
    cable.sent(len(said))
    return said


def in_care() -> tuple[Mishaps, Plug, Parrot, Cable, list[str]]:
    parrot, cable = a_cable()
    plug, done = Plug(), []
    care = Mishaps()
    care.know(
        "laser",
        plug,
        cable,
        power_cycle=lambda: done.append("off"),
        special={"interlock": lambda begins: done.append(f"open {begins}")},
    )
    return care, plug, parrot, cable, done


def test_a_sound_wire_changes_nothing():
    _, cable = a_cable()
    cable.receive(b"one\n")
    assert read(cable) == b"one\n"
    assert read(cable) == b""


def test_what_is_said_on_a_silent_wire_is_lost_and_on_a_slow_one_comes_late():
    _, cable = a_cable()
    for wire, comes in ((Wire.SILENT, b""), (Wire.LATE, b"one\n")):
        cable.turn(wire)
        cable.receive(b"one\n")
        assert read(cable) == b""
        cable.turn(Wire.SOUND)
        assert read(cable) == comes


def test_noise_has_the_length_of_what_was_said_and_uses_it_up():
    _, cable = a_cable()
    cable.turn(Wire.NOISE)
    cable.receive(b"x" * 100)
    noise = read(cable)
    assert len(noise) == 100
    assert noise.count(b"x") < 10
    cable.turn(Wire.SOUND)
    assert read(cable) == b""


def test_half_a_reply_breaks_the_wire_and_nothing_follows():
    _, cable = a_cable()
    cable.turn(Wire.HALF)
    cable.receive(b"abcde")
    assert not cable.broken
    assert read(cable) == b"abc"
    assert cable.broken
    assert read(cable) == b""


def test_a_stranger_answers_each_line_and_the_device_hears_nothing():
    parrot, cable = a_cable()
    cable.turn(Wire.STRANGER)
    cable.receive(b"*IDN?\r\nmodel\r\n")
    assert read(cable) == 2 * STRANGER
    assert not parrot.backlog


def test_a_plug_is_out_for_its_time_and_waits_for_its_port():
    care, plug, *_ = in_care()
    care.begin("laser", "unplugged", 0, 5 * S)
    assert not plug.plugged
    care.advance(5 * S - 1)
    assert not plug.plugged
    assert care.under_way(4 * S)[0].seconds_left == 1.0
    plug.port_taken = True
    care.advance(5 * S)
    assert (plug.plugged, care.under_way(5 * S)) == (False, ())
    plug.port_taken = False
    care.advance(5 * S + 1)
    assert plug.plugged


def test_the_plug_is_pulled_as_soon_as_half_a_reply_has_gone():
    care, plug, _, cable, _ = in_care()
    care.begin("laser", "half-reply", 0, S)
    care.advance(S // 2)
    assert plug.plugged, "nothing has been said yet"
    cable.receive(b"abcd")
    read(cable)
    care.advance(S // 2 + 1)
    assert not plug.plugged
    care.advance(S)
    assert (plug.plugged, cable.wire) == (True, Wire.SOUND)


def test_the_plug_is_pulled_for_a_moment_where_another_device_comes_and_goes():
    care, plug, _, cable, _ = in_care()
    seen = []
    care.begin("laser", "stranger", 0, S)
    for now_ns in (0, SWAP_NS, S, S + SWAP_NS):
        care.advance(now_ns)
        seen.append((plug.plugged, cable.wire))
    assert seen == [
        (False, Wire.STRANGER),
        (True, Wire.STRANGER),
        (False, Wire.SOUND),
        (True, Wire.SOUND),
    ]


def test_a_new_fault_takes_the_place_of_the_old_and_zero_seconds_end_it():
    care, plug, _, cable, done = in_care()
    care.begin("laser", "off", 0, 10 * S)
    assert (done, plug.plugged) == (["off"], False)
    care.begin("laser", "interlock", S, 10 * S)
    assert (done[1:], plug.plugged) == (["off", "open True"], True)
    care.begin("laser", "interlock", 2 * S, 0)
    assert (done[3:], care.under_way(2 * S)) == (["open False"], ())
    care.begin("laser", "noise", 2 * S, S)
    assert cable.wire is Wire.NOISE
    care.advance(3 * S)
    assert cable.wire is Wire.SOUND


def test_an_unknown_instrument_or_fault_is_refused_with_what_there_is():
    care, *_ = in_care()
    with pytest.raises(NoSuchFault, match="there are laser"):
        care.begin("tagger", "off", 0, S)
    with pytest.raises(NoSuchFault, match="it can be unplugged, off, silent"):
        care.begin("laser", "slip", 0, S)


def test_orders_reach_the_instruments_of_a_lab(tmp_path):
    lab = RunningLab(read_lab(write_lab(tmp_path)), tmp_path, entropy=bytes, clock_ns=lambda: 0)
    told = lab.obey(FaultOrder("b-c", "tagger", "overflow", 2.0))
    assert [len(link.faults) for link in told.links] == [0, 1]
    with pytest.raises(ControlRefused, match="cannot be 'slip'"):
        lab.obey(FaultOrder("a-b", "encoder", "slip", 2.0))
    lab.obey(KickOrder("a-b", (0.1, 0.0, 0.0)))
    assert [len(link.faults) for link in lab.obey(StatusOrder()).links] == [0, 1]
    lab._take_down()


def care_of(bench, instrument: str) -> None:
    bench.take_care_of(instrument, Plug(), None)


def test_faults_of_the_light_end_it_and_a_power_cycle_needs_a_new_configuration():
    for instrument, fault in (("laser", "interlock"), ("encoder", "stops"), ("encoder", "off")):
        bench, _ = lit()
        care_of(bench, instrument)
        bench.mishaps.begin(instrument, fault, bench.now_ns, S)
        wait(bench, 5_000_000)
        assert clicks(bench) < BRIGHT / 10, fault
        if instrument == "encoder":
            expected = State.FAULT if fault == "stops" else State.NOT_CONFIGURED
            assert bench.encoder.state is expected


def test_a_tagger_that_overflows_loses_its_words_and_says_so():
    bench = a_bench()
    care_of(bench, "tagger")
    bench.tagger.receive(b"timestamp;time 0;counts?\r\n")
    wait(bench, S)
    assert len(take(bench)) > 512
    bench.mishaps.begin("tagger", "overflow", bench.now_ns, S)
    wait(bench, S)
    bench.mishaps.advance(bench.now_ns)
    bench.tagger.receive(b"abort;status?\r\n")
    assert take(bench)[-7:] == b"0010 \r\n"


def test_a_kick_moves_light_to_the_wrong_ports_until_it_is_turned_back():
    bench = a_bench()

    def wrong() -> list[float]:
        turn = bench._optics._fibre_turn.turn
        chances = port_chances(key_basis_share=0.5, misalignment=0.01, turn=turn)
        return [2 * chances[0, 1], 2 * chances[2, 3]]  # bit 0 seen as 1, by basis

    assert wrong() == pytest.approx([0.01, 0.01])
    bench.kick((0.0, math.pi, 0.0))  # about the test basis' axis: the key basis is turned over
    assert wrong() == pytest.approx([0.99, 0.01])
    bench.kick((0.0, -math.pi, 0.0))
    bench.kick((0.0, 0.0, math.pi / 2))  # about circular light: the bases are mixed
    assert wrong() == pytest.approx([0.5, 0.5])


NOISE = """
[[noise]]
model = "onerng"
name = "dice"
listen = "pty:dice"
"""
BOX = 'detector = { model = "sq-websq", listen = "tcp:127.0.0.1:0", biased = true }\n'


def a_lab_with_more(folder, clock_ns=lambda: 0):
    path = write_lab(folder)
    path.write_text(path.read_text() + BOX + NOISE)
    return RunningLab(read_lab(path), folder, entropy=bytes, clock_ns=clock_ns)


def test_detectors_latch_go_deaf_lose_their_bias_and_warm_up(tmp_path):
    lab = a_lab_with_more(tmp_path)
    wires = lab.benches[-1].optional.detector.wires

    def order(fault, seconds):
        lab.obey(FaultOrder("b-c", "detector", fault, seconds))

    order("deaf", 9.0)
    assert wires.counted == (False, True, True, True)
    assert all(wires.live)
    order("deaf", 0.0)
    assert all(wires.counted)
    order("warm", 9.0)
    assert not wires.cryostat_on
    order("warm", 0.0)
    assert wires.cryostat_on
    order("latch", 9.0)
    order("latch", 0.0)
    assert wires.live == (False, True, True, True), "only its host can free it"
    order("disabled", 9.0)
    assert not any(wires.live)
    lab._take_down()


def test_a_source_of_noise_fails_by_its_name_and_is_well_in_its_time(tmp_path):
    now_ns = 0
    lab = a_lab_with_more(tmp_path, clock_ns=lambda: now_ns)
    (noise,) = lab.noises
    lab.obey(FaultOrder("dice", "noise", "stuck", 5.0))
    assert noise.source.fault == "stuck"
    now_ns = 4 * S
    noise.advance(now_ns)
    assert noise.source.fault == "stuck"
    now_ns = 5 * S
    noise.advance(now_ns)
    assert noise.source.fault is None
    lab.obey(FaultOrder("dice", "noise", "unplugged", 5.0))
    assert not (tmp_path / "dice").exists()
    lab.obey(FaultOrder("dice", "noise", "unplugged", 0.0))
    assert (tmp_path / "dice").exists()
    with pytest.raises(ControlRefused, match="cannot be 'slip'; it can be unplugged, off, silent"):
        lab.obey(FaultOrder("dice", "noise", "slip", 1.0))
    with pytest.raises(ControlRefused, match="no instrument 'laser'; there are noise"):
        lab.obey(FaultOrder("dice", "laser", "slip", 1.0))
    lab._take_down()
