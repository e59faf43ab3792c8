"""Signal blocks of the ID1000: inputs with thresholds and counters, delays, combiners, links.

After the "Time Controller Series User Manual", pp. 42, 47, 69, and the routing that the maker's
public examples rely on: INPUn - DELAn - TSCO(n+4), which the RAW blocks read. A combiner here
passes one of its two inputs on, or nothing; AND, OR and windows are not simulated. What the
blocks are after power-on is not documented: here inputs are off, and the links are the preset's.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from drivers.kernels.clicks import deal
from drivers.sim.idq_scpi import (
    PICOSECONDS,
    VOLTS,
    CommandTree,
    Mistake,
    keyword,
    on,
    on_off,
    quantity,
    whole,
)

Ints = npt.NDArray[np.int64]

N_INPUTS, N_DELAYS, N_COMBINERS = 4, 8, 24
MAX_DELAY_PS = 10**12  # manual p. 42
MAX_THRESHOLD_V = 10.0  # not documented
MIN_WINDOW_NS, MAX_WINDOW_NS = 10**6, 10**13  # not documented
PULSE_WIDTH_PS = 10_000  # of a detector's electrical pulse; only its trailing edge tells
TICK_PS = {"HIRES": 1, "LOWRES": 100}
INPUTS = tuple(f"INPU{n}" for n in range(1, N_INPUTS + 1))
DELAYS = tuple(f"DELA{n}" for n in range(1, N_DELAYS + 1))
NOTHING: Ints = np.empty(0, np.int64)


@dataclass(slots=True)
class Counter:
    """CYCLic: the count of the last whole window; ACCUmulate: all since RESEt."""

    mode: str = "CYCLIC"
    window_ns: int = 10**9
    start_ps: int = 0
    counted: int = 0
    shown: int = 0

    def count(self, times_ps: Ints, now_ps: int) -> None:
        window_ps = self.window_ns * 1000
        while self.mode == "CYCLIC" and now_ps >= self.start_ps + window_ps:
            self.start_ps += window_ps
            n_inside = int(times_ps.searchsorted(self.start_ps))
            self.shown, self.counted = self.counted + n_inside, 0
            times_ps = times_ps[n_inside:]
        self.counted += times_ps.size
        if self.mode != "CYCLIC":
            self.shown = self.counted

    def reset(self, now_ps: int) -> None:
        self.start_ps, self.counted, self.shown = now_ps, 0, 0


@dataclass(slots=True)
class Input:
    """STARt or an INPUt."""

    enabled: bool = False
    threshold_v: float = 0.5
    edge: str = "RISING"
    coupling: str = "DC"
    shape: str = "UNSHAPED"
    hires_error: int = 0
    counter: Counter = field(default_factory=Counter)

    def seen(self, times_ps: Ints, *, pulse_v: float, tick_ps: int) -> Ints:
        """Times of the pulses that cross the threshold, in order."""
        if not (self.enabled and min(0.0, pulse_v) < self.threshold_v < max(0.0, pulse_v)):
            return NOTHING
        if (self.edge == "FALLING") != (pulse_v < 0.0):
            times_ps = times_ps + PULSE_WIDTH_PS
        return times_ps // tick_ps * tick_ps if tick_ps > 1 else times_ps


@dataclass(slots=True)
class Delay:
    """DELAn: holds events until their time has come."""

    source: str = "NONE"
    value_ps: int = 0
    held_ps: Ints = field(default_factory=lambda: NOTHING)

    def pass_on(self, times_ps: Ints, now_ps: int) -> Ints:
        if not self.value_ps and not self.held_ps.size:
            return times_ps
        waiting = np.concatenate((self.held_ps, times_ps + self.value_ps))
        waiting.sort(kind="stable")  # in order already, unless the delay was just changed
        n_ready = int(np.searchsorted(waiting, now_ps, side="right"))
        self.held_ps = waiting[n_ready:]
        return waiting[:n_ready]


@dataclass(slots=True)
class Combiner:
    """TSCOn: passes on its first or its second input."""

    first: str = "NONE"
    second: str = "NONE"
    passes: str = "ONLYFIR"
    window: str = "OFF"

    @property
    def source(self) -> str:
        if self.passes == "ONLYFIR":
            return self.first
        return self.second if self.passes == "ONLYSEC" else "NONE"


class Signals:
    """Events at the output of each block, by its name; combiners are followed when asked."""

    def __init__(self, at: dict[str, Ints], combiners: list[Combiner]) -> None:
        self._at, self._combiners = at, combiners

    def __getitem__(self, name: str) -> Ints:
        while name.startswith("TSCO"):
            name = self._combiners[int(name[4:]) - 1].source
        return self._at[name]


class Routing:
    """All blocks between the sockets and the recorders."""

    def __init__(self, *, pulse_v: float) -> None:
        self._pulse_v = pulse_v
        self._now_ps = 0
        self.resolution = "HIRES"
        self.start = Input()
        self.inputs = [Input() for _ in range(N_INPUTS)]
        self.delays = [Delay() for _ in range(N_DELAYS)]
        self.combiners = [Combiner() for _ in range(N_COMBINERS)]
        self.load_preset()

    def load_preset(self) -> None:
        """The links of the presets, as far as combiners of one input go."""
        for delay in self.delays:
            delay.source, delay.value_ps = "NONE", 0
        for combiner in self.combiners:
            combiner.first, combiner.second, combiner.passes = "NONE", "NONE", "ONLYFIR"
        for n in range(N_INPUTS):
            self.delays[n].source = f"INPU{n + 1}"
            self.combiners[n + N_INPUTS].first = f"DELA{n + 1}"

    def calibrate(self) -> None:
        for block in self.inputs:
            block.hires_error = 0

    def advance(self, now_ps: int, times_ps: Ints, channels: npt.NDArray[np.uint8]) -> Signals:
        """Events at the output of every block since the last call, each in order of time.

        Parameters
        ----------
        now_ps : int
        times_ps : (n,) int64, non-decreasing
            Pulses at the inputs. The start input has no cable.
        channels : (n,) uint8, 1..4
        """
        self._now_ps = now_ps
        self.start.counter.count(NOTHING, now_ps)
        at = {"NONE": NOTHING, "STAR": NOTHING}
        tick_ps = TICK_PS[self.resolution]
        dealt = deal(times_ps, channels)
        for name, block, mine in zip(INPUTS, self.inputs, dealt, strict=True):
            seen = block.seen(mine, pulse_v=self._pulse_v, tick_ps=tick_ps)
            block.counter.count(seen, now_ps)
            at[name] = seen
        for name, delay in zip(DELAYS, self.delays, strict=True):
            at[name] = delay.pass_on(at[delay.source], now_ps)
        return Signals(at, self.combiners)

    def serve(self, tree: CommandTree) -> None:
        """Put the blocks' commands into ``tree``."""
        self._serve_inputs(tree, "STARt", [self.start])
        self._serve_inputs(tree, "INPUt#", self.inputs)
        delay = partial(whole, units=PICOSECONDS, low=0, high=MAX_DELAY_PS)
        tree.bind("DELAy#:VALUe", self.delays, "value_ps", delay, "{}TB".format)
        tree.bind("DELAy#:LINK", self.delays, "source", partial(link, deepest="INPU"), str)
        for header, name in (("FIRst", "first"), ("SECond", "second")):
            read = partial(link, deepest="DELA")
            tree.bind(f"TSCO#:{header}:LINK", self.combiners, name, read, str)
        passes = keyword("ONLYFIR", "ONLYSEC", "MUTE")
        for header in ("OPIN", "OPOUt"):  # how the two act together is not documented
            tree.bind(f"TSCO#:{header}", self.combiners, "passes", passes, str)
        tree.bind("TSCO#:WINDow:ENABle", self.combiners, "window", keyword("OFF"), str)

    def _serve_inputs(self, tree: CommandTree, head: str, inputs: list[Input]) -> None:
        volts = partial(quantity, units=VOLTS, low=-MAX_THRESHOLD_V, high=MAX_THRESHOLD_V)
        tree.bind(f"{head}:ENABle", inputs, "enabled", on, on_off)
        tree.bind(f"{head}:THREshold", inputs, "threshold_v", volts, "{:g}V".format)
        tree.bind(f"{head}:EDGE", inputs, "edge", keyword("RISIng", "FALLing"), str)
        tree.bind(f"{head}:COUPling", inputs, "coupling", keyword("DC"), str)
        tree.bind(f"{head}:SELEct", inputs, "shape", keyword("UNSHAPED"), str)
        tree.bind(f"{head}:HIREs:ERROr", inputs, "hires_error", None, str)
        tree.bind(f"{head}:HIREs:ERROr:CLEAr", inputs, "hires_error", lambda _: 0, None)
        counters = [block.counter for block in inputs]
        mode = keyword("CYCLic", "ACCUmulate")
        window = partial(whole, units={"": 1.0}, low=MIN_WINDOW_NS, high=MAX_WINDOW_NS)
        tree.bind(f"{head}:COUNter:MODE", counters, "mode", mode, str)
        tree.bind(f"{head}:COUNter:INTEgration", counters, "window_ns", window, str)
        tree.bind(f"{head}:COUNter", counters, "shown", None, str)
        tree.add(
            f"{head}:COUNter:RESEt",
            put=lambda number, _: counters[max(0, number - 1)].reset(self._now_ps),
            numbers=range(1, len(inputs) + 1) if "#" in head else range(1),
        )


def link(text: str, *, deepest: str) -> str:
    """The short name of a block that may feed another: NONE, STAR, INPU1, DELA8, TSCO24.

    ``deepest`` is the kind of block furthest from the sockets that may stand here, so that links
    never go round in circles.
    """
    sizes = {"NONE": 0, "STAR": 0, "INPU": N_INPUTS, "DELA": N_DELAYS, "TSCO": N_COMBINERS}
    name = text.rstrip("0123456789")
    digits = text[len(name) :]
    kind = keyword("NONE", "STARt", "INPUt", "DELAy", "TSCO")(name)[:4]
    kinds = list(sizes)
    right = 1 <= int(digits[:3]) <= sizes[kind] if digits else not sizes[kind]
    if not right or kinds.index(kind) > kinds.index(deepest):
        raise Mistake(f"{text} cannot be linked here")
    return f"{kind}{int(digits)}" if digits else kind
