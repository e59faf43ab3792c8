"""The simulated S-Fifteen TDC1: a four-channel counter and time tagger on USB.

After the "TDC1 Documentation" wiki (2024-09-13), the data sheet (rev. 0.1) and what the maker's
public clients rely on. Where none of them says what the device does, the comment says "not
documented". Its limit of 10 Mevents/s is not modelled: what bounds the rate is who reads.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from drivers.kernels.tdc1_words import TICK_PS, between, merged, words
from drivers.sim.usb_fifo import UsbFifo

Ints = npt.NDArray[np.int64]

TICKS_PER_MS = 500_000
OVERFLOW_BIT = 0x10
MAX_COMMAND_CHARS = 256
MAX_LEVEL_V = 3.3
PAIRS = ((0, 2), (0, 3), (1, 2), (1, 3))  # 1-3, 1-4, 2-3, 2-4
HELP = (
    "*IDN?  *RST  HELP  STATUS?  ABORT  INPKT",
    "SINGLES  PAIRS  TIMESTAMP  MODE?  TIME n  TIME?  COUNTS?",
    "NIM  TTL  POS v  NEG v  LEVEL?  REFCLK n  REFCLK?  ECLOCK?",
)


class Mode(IntEnum):
    SINGLES = 0
    PAIRS = 1
    TIMESTAMP = 3


@dataclass(slots=True)
class Gate:
    """A running acquisition, ``start <= tick < end``; ``end`` None: until ABORT."""

    mode: Mode
    start: int
    end: int | None
    last_word: int  # tick of the last word of the stream
    patterns: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(16, np.int64))


class TDC1:
    """IDLE --COUNTS?--> acquiring --gate ends, ABORT or *RST--> IDLE; counters run on for ever.

    Time is the tagger's own, in ps; the 27 bits of a time stamp are what is left of it.
    """

    def __init__(self, *, fifo_words: int = 65_536) -> None:
        self._fifo = UsbFifo(fifo_words)
        self._now_tick = 0
        self._text = bytearray()
        self._slip = False
        self._jammed = False
        self._gate: Gate | None = None
        self._reset()

    def receive(self, data: bytes) -> None:
        """Take bytes in any chunks; commands end with ``;``, CR or LF. Answers are in the FIFO."""
        for byte in data:
            if byte in b";\r\n":
                words = self._text.decode("ascii", "replace").lower().split()
                self._text.clear()
                if words:
                    self._execute(words[0], words[1:])
            elif len(self._text) < MAX_COMMAND_CHARS:
                self._text.append(byte)

    def pending(self) -> memoryview:
        """Bytes that the host may read now."""
        return self._fifo.pending()

    def sent(self, n_bytes: int) -> None:
        self._fifo.sent(n_bytes)

    def power_cycle(self) -> None:
        """Unplugged and plugged in again."""
        self._text.clear()
        self._reset()

    def slip(self) -> None:
        """Lose two bytes of the stream, as the real one does at high rates."""
        self._slip = True

    def jam(self, jammed: bool) -> None:
        """Have the FIFO full, as if more came than leaves it, until it is not."""
        self._jammed = jammed

    def advance(self, now_ps: int, times_ps: Ints, channels: npt.NDArray[np.uint8]) -> None:
        """Go on to ``now_ps`` of the tagger's clock.

        Parameters
        ----------
        now_ps : int
            Not before the last call's.
        times_ps : (n,) int64, non-decreasing
            Pulses at the inputs since the last call.
        channels : (n,) uint8, 1..4
        """
        self._now_tick = now_ps // TICK_PS
        gate = self._gate
        if gate is None:
            return
        if gate.mode is Mode.TIMESTAMP:
            self._stream(gate, times_ps, channels)
        else:
            _, patterns = between(*merged(times_ps, channels), gate.start, gate.end)
            gate.patterns += np.bincount(patterns, minlength=16)
        if gate.end is not None and self._now_tick >= gate.end:
            self._gate = None
            if gate.mode is Mode.TIMESTAMP:
                self._fifo.flush()
            else:
                self._reply(" ".join(map(str, counts(gate))))

    def _stream(self, gate: Gate, times_ps: Ints, channels: npt.NDArray[np.uint8]) -> None:
        """Queue the words of some events, and of the dummies between and after them."""
        until = self._now_tick if gate.end is None else min(self._now_tick, gate.end - 1)
        stream, gate.last_word = words(
            times_ps,
            channels,
            start=gate.start,
            stop=gate.end,
            until=until,
            last=gate.last_word,
        )
        if stream.size:
            self._put_words(stream.astype("<u4", copy=False))

    def _put_words(self, new: npt.NDArray[np.uint32]) -> None:
        if self._jammed:
            self._fifo.overflow = True
            return
        stream = memoryview(new.data).cast("B")
        if self._slip:
            self._slip = False
            middle = stream.nbytes // 8 * 4
            stream = memoryview(bytes(stream[:middle]) + bytes(stream[middle + 2 :]))
        self._fifo.put_words(stream)

    def _execute(self, command: str, arguments: list[str]) -> None:
        match command, arguments:
            case "*rst", []:
                self._reset()
            case (("singles" | "pairs" | "timestamp"), []):
                self._mode = Mode[command.upper()]
            case "time", [text] if text.isdecimal() and len(text) < 6 and int(text) <= 0xFFFF:
                self._time_ms = int(text)
            case "counts?", []:
                self._open_gate()
            case "abort", []:
                self._gate = None
                self._fifo.flush()
            case "inpkt", []:
                self._fifo.flush()
            case "nim", []:
                self._level = "-0.50 V (NIM)"
            case "ttl", []:
                self._level = "1.50 V (TTL)"
            case (("pos" | "neg"), [text]):
                self._set_level(command, text)
            case "refclk", ["0" | "1" | "2" as text]:
                self._refclk = int(text)
            case "help", []:
                for line in HELP:
                    self._reply(line)
            case _, []:
                self._answer(command)
            case _:
                pass  # what an unknown command does is not documented: here nothing

    def _answer(self, query: str) -> None:
        signed_ms = self._time_ms - (1 << 16 if self._time_ms & 0x8000 else 0)
        answers = {
            "*idn?": "S-Fifteen TDC1 (simulated)",  # documented: TDC1 is somewhere in it
            "mode?": str(int(self._mode)),
            "time?": str(signed_ms),  # the firmware prints a signed 16-bit number
            "level?": self._level,
            "refclk?": str(self._refclk),
            "eclock?": "0",
            "status?": f"{OVERFLOW_BIT * self._fifo.overflow:04x} ",
        }
        if query in answers:
            self._reply(answers[query])

    def _reply(self, line: str) -> None:
        self._fifo.put_text(line.encode("ascii") + b"\r\n")

    def _open_gate(self) -> None:
        start = self._now_tick
        end = start + self._time_ms * TICKS_PER_MS if self._time_ms else None
        self._gate = Gate(self._mode, start, end, last_word=start)

    def _set_level(self, edge: str, text: str) -> None:
        try:
            level_v = float(text)
        except ValueError:
            return
        if abs(level_v) <= MAX_LEVEL_V:  # false for nan too
            self._level = f"{level_v:.2f} V ({edge})"

    def _reset(self) -> None:
        """``*RST``; the mode, time and level after it are not documented."""
        self._mode = Mode.SINGLES
        self._time_ms = 1000
        self._level = "-0.50 V (NIM)"
        self._refclk = 0
        self._gate = None
        self._fifo.clear()


def counts(gate: Gate) -> list[int]:
    """What ``COUNTS?`` answers in a counting mode; a pair is two inputs in one tick."""
    patterns = np.arange(16)
    hit = [(patterns >> channel) & 1 for channel in range(4)]
    masks = list(hit)
    if gate.mode is Mode.PAIRS:
        masks += [hit[a] & hit[b] for a, b in PAIRS]
    return [int(gate.patterns @ mask) for mask in masks]
