"""The instruments that a link may have besides its four: what they see, and their way out."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drivers.sim.config import Link
from drivers.sim.optics.clicks import ALL_LIVE, Events
from drivers.sim.optics.polarization import STAYS, Turn, squeezers
from drivers.sim.optics.tagger_clock import TaggerClock
from drivers.sim.ozoptics_epc import EPC400
from drivers.sim.serve import Outbox
from drivers.sim.sq_websq import WebSQ
from drivers.sim.thorlabs_pm100 import PM100

MAX_WAITING_BYTES = 1 << 16
"""Lines of counts that wait for a client; more is lost."""


class OptionalPort(Outbox):
    """One of them as a server sees it; without an instrument, a port that only tells."""

    def __init__(self, instrument: EPC400 | PM100 | WebSQ | None = None) -> None:
        self._said = bytearray()
        super().__init__(self._said)
        self._instrument = instrument
        self.catch_up: Callable[[], None] = lambda: None
        self.has_client = False

    def connected(self) -> None:
        self.has_client = True
        if self._instrument is not None:
            self._instrument.connected()

    def disconnected(self) -> None:
        self.has_client = False
        self._said.clear()
        if isinstance(self._instrument, WebSQ):
            self._instrument.disconnected()

    def receive(self, data: bytes) -> None:
        """Take what a host says, if anybody listens."""
        self.catch_up()
        if self._instrument is not None:
            self.say(self._instrument.receive(data))

    def say(self, data: bytes) -> None:
        """Let ``data`` wait for the host."""
        self._said += data

    def offer(self, data: bytes) -> None:
        """Let ``data`` wait if somebody listens who has read what was said before."""
        if self.has_client and len(self._said) < MAX_WAITING_BYTES:
            self._said += data


class Outlet(NamedTuple):
    """What a lab must serve."""

    instrument: str
    listen: str
    port: OptionalPort
    is_text: bool = False
    """Announced as a VISA socket."""


class OptionalInstruments:
    """Power meter, polarisation controller and detectors' driver, where LAB.toml names them."""

    def __init__(self, link: Link, *, start_unix_s: float) -> None:
        chosen = link.instruments
        self._tap_ratio = link.source.tap_ratio
        self.power_meter: PM100 | None = None
        self.polarization: EPC400 | None = None
        self.detector: WebSQ | None = None
        self.outlets: list[Outlet] = []
        self._half_wave_mv = 0.0
        self._turn_of: tuple[tuple[float, ...], Turn] = ((0.0,) * 4, STAYS)
        self._of_meter = self._of_epc = self._of_box = self._of_counts = OptionalPort()
        if (meter := chosen.power_meter) is not None:
            self.power_meter = PM100(wavelength_nm=link.source.wavelength_nm)
            self._of_meter = OptionalPort(self.power_meter)
            self.outlets.append(Outlet("power_meter", meter.listen, self._of_meter, is_text=True))
        if (epc := chosen.polarization) is not None:
            self.polarization = EPC400(echo=epc.echo)
            self._half_wave_mv = epc.half_wave_mv
            self._of_epc = OptionalPort(self.polarization)
            self.outlets.append(Outlet("polarization", epc.listen, self._of_epc))
        if (box := chosen.detector) is not None:
            self.detector = WebSQ(
                switching_ua=box.switching_ua, biased=box.biased, start_unix_s=start_unix_s
            )
            self._of_box, self._of_counts = OptionalPort(self.detector), OptionalPort()
            self.outlets.append(Outlet("detector", box.listen, self._of_box))
            self.outlets.append(Outlet("counts", box.counts, self._of_counts))

    @property
    def power_cycles(self) -> dict[str, Callable[[], None]]:
        """Their switches, off and on again."""
        switches: dict[str, Callable[[], None]] = {}
        if self.power_meter is not None:
            switches["power_meter"] = self.power_meter.power_cycle
        if self.polarization is not None:
            switches["polarization"] = self.polarization.power_cycle
        return switches

    @property
    def live_detectors(self) -> npt.NDArray[np.bool_]:
        """Which of the four detectors can click; all, if nobody biases them."""
        return ALL_LIVE if self.detector is None else np.array(self.detector.wires.live)

    @property
    def turn(self) -> Turn:
        """What the polarisation controller makes of the light."""
        if self.polarization is None:
            return STAYS
        present_mv = self.polarization.present_mv
        if present_mv != self._turn_of[0]:
            angles = tuple(math.pi * mv / self._half_wave_mv for mv in present_mv)
            self._turn_of = (present_mv, squeezers(angles))
        return self._turn_of[1]

    def advance(self, dt_s: float, *, modulated_mw: float, blinded_share: float) -> None:
        """Let time pass for what does not count clicks."""
        if self.detector is not None:
            self.detector.wires.blinded_share = blinded_share
        if self.power_meter is not None:
            self.power_meter.power_w = modulated_mw * 1e-3 * self._tap_ratio
            self._of_meter.say(self.power_meter.advance(dt_s))
        if self.polarization is not None:
            self._of_epc.say(self.polarization.advance(dt_s))

    def count(self, now_ns: int, events: Events, clock: TaggerClock) -> None:
        """Count the clicks of a step, each in the measurement period in which it came."""
        if self.detector is None:
            return
        done = 0
        while True:
            until_ns = min(now_ns, self.detector.period_end_ns)
            upto = events.times_ps.size
            if until_ns < now_ns:
                end_ps = clock.reading_ps(until_ns * 1000)
                upto = int(np.searchsorted(events.times_ps, end_ps))
            counts = np.bincount(events.channels[done:upto], minlength=5)[1:]
            self.detector.count(counts.tolist())
            said, line = self.detector.advance(until_ns)
            self._of_box.say(said)
            self._of_counts.offer(line)
            done = upto
            if until_ns == now_ns:
                return

    def skip_to(self, now_ns: int) -> None:
        """Let a stall pass that is not counted."""
        if self.detector is not None:
            self.detector.skip_to(now_ns)
