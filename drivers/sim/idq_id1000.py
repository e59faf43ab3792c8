"""The simulated ID Quantique ID1000: a time controller with four inputs, on Ethernet.

After the "Time Controller Series User Manual" (pp. 42-48, 69, 77) and the maker's public Python
examples. Where neither says what the device does, the comment says "not documented". Simulated
are inputs, delays, routing, counters, the record generator and the raw time stamps; histograms,
generators and coincidences are not.

Time stamps leave only when a record ends (or a buffer of 100 million is full): whoever wants them
while they come must cut the time into records, with a dead time of 40 ns between them in which
nothing is seen, and which start their time stamps at 0 each.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from drivers.sim.idq_recorder import Packet, Raw, Recorder, between
from drivers.sim.idq_routing import N_INPUTS, TICK_PS, Ints, Routing, Signals, link
from drivers.sim.idq_scpi import CommandTree, keyword, on, on_off

IDENTITY = "ID Quantique, ID1000 Time Controller (simulated), Serial : SIM0001"
"""Documented is no more than the serial number, and how it is found."""

MAX_EVENTS_HZ = 10_000_000  # manual p. 48: time stamps per second, over all channels
BURST_EVENTS = 1_000_000  # not documented: so many above that rate, and the buffer overflows


class ID1000:
    """IDLE --REC:PLAY--> PLAYING --the last record ends, or REC:STOP--> IDLE.

    Time is the device's own, in ps. ``take`` hands on what the device sent since the last call.
    """

    def __init__(
        self,
        *,
        pulse_v: float = -0.8,
        buffer_stamps: int = 100_000_000,
        shortest_record_ms: float = 200.0,
        overflow_is_fatal: bool = True,
    ) -> None:
        """Set what is not documented, or depends on the device.

        Parameters
        ----------
        pulse_v : float
            Height of the detectors' pulses: NIM, unless they are others.
        buffer_stamps : int
            Time stamps of one channel that leave before their record ends ("100-300 millions").
        shortest_record_ms : float
            One of many ("must be >= 0.2s" in the maker's example).
        overflow_is_fatal : bool
            Whether only a restart helps after an overflow (the manual: it "may" be so).
        """
        self._pulse_v = pulse_v
        self._buffer_stamps = buffer_stamps
        self._shortest_ps = round(shortest_record_ms * 1e9)
        self._overflow_is_fatal = overflow_is_fatal
        self._now_ps = 0
        self.power_cycle()

    def power_cycle(self) -> None:
        """The manual restart."""
        self.stuck = False
        self._backlog = 0.0
        self._sent: list[Packet] = []
        self._recorder = Recorder()
        self._routing = Routing(pulse_v=self._pulse_v)
        self._raws = [Raw(f"TSCO{n + N_INPUTS}") for n in range(1, N_INPUTS + 1)]
        self._tree = CommandTree()
        self._routing.serve(self._tree)
        self._serve()

    def receive(self, message: str) -> str:
        """The answer to one message."""
        return self._tree.answer(message)

    def take(self) -> list[Packet]:
        sent, self._sent = self._sent, []
        return sent

    def undelivered(self, packet: Packet) -> None:
        """Nobody takes what the device sent."""
        if packet.stamps_ps.size:
            self._raws[packet.channel - 1].errors += 1

    def lose_calibration(self, channel: int) -> None:
        """As a change of temperature may do; only the error code shows it here."""
        self._routing.inputs[channel - 1].hires_error = 1

    def advance(self, now_ps: int, times_ps: Ints, channels: npt.NDArray[np.uint8]) -> None:
        """Go on to ``now_ps`` of the device's clock.

        Parameters
        ----------
        now_ps : int
            Not before the last call's.
        times_ps : (n,) int64, non-decreasing
            Pulses at the inputs since the last call.
        channels : (n,) uint8, 1..4
        """
        at = self._routing.advance(now_ps, times_ps, channels)
        drained = (now_ps - self._now_ps) * MAX_EVENTS_HZ * 1e-12
        self._now_ps = now_ps
        n_events = 0
        while self._recorder.playing:
            n_events += self._record(at)
            if now_ps < self._recorder.end_ps:
                break
            self._next_record()
        self._backlog = max(0.0, self._backlog + n_events - drained)
        if self._backlog > BURST_EVENTS:
            self._overflow()

    def _record(self, at: Signals) -> int:
        """Take what belongs to the present record; how many events there were."""
        start_ps, end_ps = self._recorder.start_ps, self._recorder.end_ps
        n_events = 0
        for channel, raw in enumerate(self._raws, 1):
            events_ps = between(at[raw.source], start_ps, end_ps)
            n_events += raw.record(events_ps, between(at[raw.reference], start_ps, end_ps))
            if raw.n_held >= self._buffer_stamps:
                self._sent.append(raw.packet(channel, ends_record=False))
        return n_events

    def _next_record(self) -> None:
        recorder = self._recorder
        self._end_record()
        recorder.playing = recorder.n_done != recorder.n_records
        self._begin_record(recorder.start_ps + recorder.period_ps)

    def _begin_record(self, start_ps: int) -> None:
        self._recorder.start_ps = start_ps
        for raw in self._raws:
            raw.begin(start_ps)

    def _end_record(self) -> None:
        self._recorder.n_done += 1
        for channel, raw in enumerate(self._raws, 1):
            packet = raw.packet(channel, ends_record=True)
            if raw.send:
                self._sent.append(packet)

    def _overflow(self) -> None:
        self._backlog = 0.0
        for raw in self._raws:
            raw.errors += raw.send
            raw.drop()
        if self._overflow_is_fatal:
            self.stuck = True
            self._recorder.playing = False

    def _play(self) -> None:
        recorder = self._recorder
        recorder.check(shortest_ps=self._shortest_ps)
        if not self.stuck and not recorder.playing:
            recorder.playing, recorder.n_done = True, 0
            self._begin_record(self._now_ps)

    def _stop(self) -> None:
        if self._recorder.playing:
            self._recorder.playing = False
            self._end_record()

    def _load(self, text: str) -> None:
        keyword("COUNt", "HISTO")(text)
        self._routing.load_preset()
        for n, raw in enumerate(self._raws, 1):
            raw.source, raw.reference = f"TSCO{n + N_INPUTS}", "NONE"

    def _serve(self) -> None:
        tree, routing = self._tree, self._routing
        resolution = keyword("HIRES", "LOWRES")
        tree.add("*IDN", get=lambda _: IDENTITY)
        tree.bind("DEVIce:RESolution", [routing], "resolution", resolution, str)
        tree.add("DEVIce:RESolution:BWIDth", get=lambda _: str(TICK_PS[routing.resolution]))
        tree.add("DEVIce:CONFIg:LOAD", put=lambda _, text: self._load(text))
        tree.add("DEVIce:SAMPling:RECAlibrate", put=lambda *_: routing.calibrate())
        tree.bind("RAW#:STOP:LINK", self._raws, "source", partial(link, deepest="TSCO"), str)
        tree.bind("RAW#:REF:LINK", self._raws, "reference", partial(link, deepest="TSCO"), str)
        tree.bind("RAW#:SEND", self._raws, "send", on, on_off)
        tree.bind("RAW#:ERRORs", self._raws, "errors", None, str)
        tree.bind("RAW#:ERRORs:CLEAr", self._raws, "errors", lambda _: 0, None)
        self._recorder.serve(tree)
        tree.add("RECord:PLAY", put=lambda *_: self._play())
        tree.add("RECord:STOP", put=lambda *_: self._stop())
