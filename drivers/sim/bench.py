"""One link's bench: its instruments, the light between them, and the time they share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from drivers.sim.agilent_8156a import HP8156A
from drivers.sim.cable import Cable
from drivers.sim.config import Attack, LabConfigError, Link, StateEncoderConfig, TDC1Config
from drivers.sim.control import LinkDone
from drivers.sim.idq_on_network import TimeController
from drivers.sim.koheron_ctl200 import CTL200
from drivers.sim.mishaps import Mishaps, Server
from drivers.sim.optics.eve import blinded_share, level_errors, power_factor
from drivers.sim.optics.link import Events, OpticalLink, link_seed
from drivers.sim.optional import OptionalInstruments
from drivers.sim.s15_tdc1 import TDC1
from drivers.sim.serve import HangUp, Outbox
from drivers.sim.state_encoder import Closed, StateEncoder

STEP_NS = 20_000_000
"""The longest step of the model, if nothing else is said; instruments act on the light from one
step to the next."""

FIFO_SHARE = 0.5
"""Of the TDC1's FIFO, that a step may fill: hosts read between two steps."""

MAX_LAG_NS = 2_000_000_000
NOTHING = Events(np.empty(0, np.int64), np.empty(0, np.uint8))


class Bench:
    """The model of one link; ``catch_up`` brings all of it to one time.

    A host's bytes are taken only after the bench has caught up, so that a command acts when it
    comes and not at the end of a step. What only the board's own clock answers need not wait for
    the light: there the bench catches up before the light begins or ends.
    """

    def __init__(
        self,
        link: Link,
        *,
        seed: int,
        key: bytes,
        entropy: Callable[[int], bytes],
        start_unix_s: float = 0.0,
        step_ns: int = STEP_NS,
    ) -> None:
        self.now_ns = 0
        self._step_ns = step_ns
        self._events_per_ns = 0.0
        self._config = link
        self._cut_until_ns = 0
        self._optics = OpticalLink(
            link.fibre, link.source, link.receiver, link.attack, seed=link_seed(seed, link.name)
        )
        self._clock = self._optics.clock
        self.laser = CTL200(threshold_ma=link.source.threshold_ma)
        self.laser.interlock_open = link.instruments.laser.interlock_open
        self.attenuator = HP8156A()
        self.encoder = StateEncoder(key, entropy)
        self._optics.encoder = self.encoder.light
        self.encoder.light.before_change = lambda: self.catch_up(self.encoder.now_ns)
        tagger = link.instruments.tagger
        self.tagger: TDC1 | TimeController
        self._slips_per_s = 0.0
        if isinstance(tagger, TDC1Config):
            self.tagger = TDC1(fifo_words=tagger.fifo_words)
            self._slips_per_s = tagger.slips_per_s
        else:
            self.tagger = TimeController(tagger)
        self._slip_rng = np.random.Generator(np.random.Philox(link_seed(seed, link.name + "/slip")))
        self.optional = OptionalInstruments(link, start_unix_s=start_unix_s)
        self.mishaps = Mishaps()
        self.said_by_laser = bytearray()
        self.said_by_attenuator = bytearray()

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def attack(self) -> Attack | None:
        """What an eavesdropper does to the light."""
        return self._optics.attack

    @attack.setter
    def attack(self, attack: Attack | None) -> None:
        self._optics.attack = attack

    def cut_fibre(self, n_ns: int) -> None:
        """From now on no light enters the fibre for ``n_ns``; 0 mends it."""
        self._cut_until_ns = self.now_ns + n_ns

    def take_care_of(self, instrument: str, server: Server, cable: Cable | None) -> None:
        """Let orders reach an instrument that is served; counts have no switch of their own."""
        of: dict[str, Callable[[], None] | None] = {
            "laser": self.laser.power_cycle,
            "attenuator": self.attenuator.power_cycle,
            "encoder": self.encoder.power_cycle,
            **self.optional.power_cycles,
        }
        special: dict[str, Callable[[bool], None]] = {}
        tagger = self.tagger
        if instrument == "tagger" and isinstance(tagger, TDC1):
            of["tagger"] = tagger.power_cycle
            special = {
                "slip": lambda begins: tagger.slip() if begins else None,
                "overflow": tagger.jam,
            }
        elif instrument == "encoder":
            special = {"stops": lambda begins: self.encoder.stops() if begins else None}
        elif instrument == "laser":
            special = {"interlock": self.laser.open_interlock}
        elif instrument == "detector" and self.optional.detector is not None:
            special = self.optional.detector.faults
        self.mishaps.know(
            instrument, server, cable, power_cycle=of.get(instrument), special=special
        )

    def kick(self, turn_rad: tuple[float, float, float]) -> None:
        """Turn the polarisation in the fibre."""
        self._optics.kick(turn_rad)

    def done_to_it(self) -> LinkDone:
        """What somebody does to this link."""
        dark_s = max(0, self._cut_until_ns - self.now_ns) / 1e9
        faults = self.mishaps.under_way(self.now_ns)
        return LinkDone(name=self.name, dark_s=dark_s, attack=self.attack, faults=faults)

    def catch_up(self, now_ns: int) -> None:
        """Go on to ``now_ns`` in steps short enough for the FIFO and the light."""
        while self.now_ns < now_ns:
            self.step(min(now_ns, self.now_ns + self.longest_step_ns))

    @property
    def longest_step_ns(self) -> int:
        """Short enough for the light, and at the present rate for the tagger's FIFO."""
        tagger = self._config.instruments.tagger
        if isinstance(tagger, TDC1Config) and self._events_per_ns:
            fills_ns = FIFO_SHARE * tagger.fifo_words / self._events_per_ns
            return max(1_000_000, min(self._step_ns, round(fills_ns)))
        return self._step_ns

    def step(self, now_ns: int) -> None:
        """One step of the model; two where a cut fibre is mended."""
        if self.now_ns < self._cut_until_ns < now_ns:
            self.step(self._cut_until_ns)
        self._optics.fibre_cut = self.now_ns < self._cut_until_ns
        dt_s = self._advance_light_sources(now_ns)
        events = self._optics.advance(now_ns)
        self._events_per_ns = events.times_ps.size * 1e-9 / dt_s if dt_s else 0.0
        self.optional.count(now_ns, events, self._clock)
        self._advance_rest(now_ns, events)
        if self._slips_per_s and self._slip_rng.random() < self._slips_per_s * dt_s:
            assert isinstance(self.tagger, TDC1)
            self.tagger.slip()

    def skip_to(self, now_ns: int) -> None:
        """Let the time up to ``now_ns`` pass without light: the machine had stalled."""
        self._advance_light_sources(now_ns)
        self._optics.skip_to(now_ns)
        self.optional.skip_to(now_ns)
        self._advance_rest(now_ns, NOTHING)

    def _advance_light_sources(self, now_ns: int) -> float:
        dt_s = (now_ns - self.now_ns) * 1e-9
        self.now_ns = now_ns
        self.said_by_laser += self.laser.advance(dt_s)
        self.said_by_attenuator += self.attenuator.advance(dt_s)
        self._optics.laser_power_mw = self._config.source.power_mw(self.laser.current_ma)
        self._optics.attenuation_db = self.attenuator.attenuation_db
        self._optics.shutter_open = self.attenuator.shutter_open
        self._optics.live_detectors = self.optional.live_detectors
        passes = self.encoder.transmission(level_errors(self._config.source, self.attack))
        seen_mw = self._optics.laser_power_mw * power_factor(self.attack) * passes
        self.optional.advance(dt_s, modulated_mw=seen_mw, blinded_share=blinded_share(self.attack))
        self._optics.controller_turn = self.optional.turn
        return dt_s

    def _advance_rest(self, now_ns: int, events: Events) -> None:
        self.encoder.advance(now_ns)
        tagger_ps = self._clock.reading_ps(now_ns * 1000)
        self.tagger.advance(tagger_ps, events.times_ps, events.channels)


class LaserPort(Outbox):
    """The CTL200 as a server sees it: a setting has an argument, a question has none."""

    def __init__(self, bench: Bench, catch_up: Callable[[], None]) -> None:
        super().__init__(bench.said_by_laser)
        self._bench, self._catch_up = bench, catch_up
        self._may_set = False

    def connected(self) -> None:
        pass

    def disconnected(self) -> None:
        self._bench.said_by_laser.clear()

    def receive(self, data: bytes) -> None:
        """Take what a host says; a setting acts when it comes, a question needs no new light."""
        self._may_set |= b" " in data
        if self._may_set:
            self._catch_up()
        self._bench.said_by_laser += self._bench.laser.receive(data)
        self._may_set &= not data.endswith((b"\r", b"\n"))


class AttenuatorPort(Outbox):
    """The 8156A as a server sees it."""

    def __init__(self, bench: Bench, catch_up: Callable[[], None]) -> None:
        super().__init__(bench.said_by_attenuator)
        self._bench, self._catch_up = bench, catch_up

    def connected(self) -> None:
        self._bench.attenuator.connected()

    def disconnected(self) -> None:
        self._bench.said_by_attenuator.clear()

    def receive(self, data: bytes) -> None:
        self._catch_up()
        self._bench.said_by_attenuator += self._bench.attenuator.receive(data)


class EncoderPort(Outbox):
    """The QMSE-1 board as a server sees it.

    ``now_ns`` is the lab's time, or the bench's where the bench is far behind.
    """

    def __init__(
        self, bench: Bench, catch_up: Callable[[], None], now_ns: Callable[[], int]
    ) -> None:
        self._answers = bytearray()
        super().__init__(self._answers)
        self._bench, self._catch_up, self._now_ns = bench, catch_up, now_ns

    def connected(self) -> None:
        self._answers.clear()
        self._bench.encoder.connected()

    def disconnected(self) -> None:
        self._catch_up()
        self._bench.encoder.disconnected()

    def receive(self, data: bytes) -> None:
        try:
            self._answers += self._bench.encoder.receive(data, self._now_ns())
        except Closed as closed:
            self._answers += closed.last_words
            raise HangUp(str(closed)) from closed


class TaggerPort:
    """The TDC1 as a server sees it: USB, so bytes wait in the device and not in the server."""

    def __init__(self, tagger: TDC1, catch_up: Callable[[], None]) -> None:
        self._tagger, self._catch_up = tagger, catch_up
        self.pending = self._tagger.pending
        self.sent = self._tagger.sent

    def connected(self) -> None:
        pass

    def disconnected(self) -> None:
        pass

    def receive(self, data: bytes) -> None:
        self._catch_up()
        self._tagger.receive(data)


def board_key(config: StateEncoderConfig, folder: Path) -> bytes:
    """The board's 32 bytes: raw, or 64 hexadecimal digits.

    Raises
    ------
    LabConfigError
        If the file cannot be read or holds something else.
    """
    path = folder / config.key_file
    try:
        data = path.read_bytes()
        key = data if len(data) == 32 else bytes.fromhex(data.decode("ascii"))
    except (OSError, ValueError) as error:
        raise LabConfigError(f"{path}: no board key: {error}") from error
    if len(key) != 32:
        raise LabConfigError(f"{path}: a board key has 32 bytes, not {len(key)}")
    return key
