"""The simulated OZ Optics EPC-400: four fibre squeezers on voltages, text over a serial line.

A command is answered by one line of content and ``Done``, a wrong one by ``Error!``, at the pace of
9600 baud: a host that stops reading after the content finds ``Done`` before its next answer. Texts
are those of the instrument as two public clients speak it; where nothing public says what it does,
the comment says "not documented".

The squeezers stand at 0, 45, 0 and 45 degrees and turn the Poincare sphere in proportion to their
voltages, at once and without hysteresis (not documented). In AC mode they swing over the whole
range.
"""

import math
import re
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

from drivers.sim.paced import PacedLine

BYTES_PER_S = 960.0  # 9600 baud, 8N1
MAX_LINE_BYTES = 64  # not documented
MAX_WAITING_LINES = (
    4  # not documented: sent before ``Done``, a line waits, as long as there is room
)

MAX_MV = 5000
MAX_HZ = 100
BUSY_S = 0.005  # not documented
FLASH_S = 0.1  # not documented

CHANNEL_AND_VALUE = re.compile(r"([1-4]),([+-]?\d{1,6})\Z")


@dataclass(slots=True)
class Settings:
    """What ``SAVE`` keeps; the factory's frequencies are those that public transcripts show."""

    voltages_mv: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    frequencies_hz: list[int] = field(default_factory=lambda: [7, 17, 37, 71])
    is_ac: bool = False
    is_triangle: bool = False
    dc_in_ac: bool = False
    is_voltage: list[bool] = field(default_factory=lambda: [False] * 4)
    """Channels that hold their voltage in AC mode, if ``dc_in_ac`` lets them."""


class Wrong(Exception):
    """A command that is answered by ``Error!``."""


class EPC400:
    """IDLE --line--> BUSY --5 ms, 100 ms for SAVE--> ANSWERING at 9600 baud --> IDLE."""

    def __init__(self, *, echo: bool) -> None:
        self._echo = echo
        self._flash = Settings()
        self._line = PacedLine(BYTES_PER_S)
        self._clock_s = 0.0
        self.power_cycle()

    def power_cycle(self) -> None:
        """Off and on again: what was not saved is gone."""
        self._settings = deepcopy(self._flash)
        self._received = bytearray()
        self._lines: deque[str] = deque()
        self._busy_left_s: float | None = None
        self._line.clear()

    @property
    def voltages_mv(self) -> tuple[int, ...]:
        """The set voltages of the four squeezers, -5000..5000."""
        return tuple(self._settings.voltages_mv)

    @property
    def present_mv(self) -> tuple[float, ...]:
        """Voltages as they are now: swinging in AC mode, but for channels that may hold theirs."""
        settings = self._settings
        if not settings.is_ac:
            return tuple(settings.voltages_mv)
        phases = [self._clock_s * hertz % 1.0 for hertz in settings.frequencies_hz]
        holds = [settings.dc_in_ac and held for held in settings.is_voltage]
        swing = triangle if settings.is_triangle else sine
        return tuple(
            mv if held else MAX_MV * swing(phase)
            for mv, held, phase in zip(settings.voltages_mv, holds, phases, strict=True)
        )

    @property
    def is_scrambling(self) -> bool:
        """Whether AC mode lets the squeezers swing."""
        return self._settings.is_ac

    def connected(self) -> None:
        """Nothing: a serial line does not tell."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes in any chunks; the answers come from :meth:`advance`."""
        for byte in data:
            if byte != ord("\n"):
                if len(self._received) <= MAX_LINE_BYTES:
                    self._received.append(byte)
                continue
            text = self._received.decode("ascii", "replace").rstrip("\r")
            self._received.clear()
            if len(self._lines) < MAX_WAITING_LINES:
                self._lines.append(text)
        return b""

    def advance(self, dt_s: float) -> bytes:
        """Let ``dt_s`` pass; what the instrument says in that time."""
        self._clock_s += dt_s
        said = self._line.advance(dt_s)
        if self._busy_left_s is not None:
            self._busy_left_s -= dt_s
            if self._busy_left_s > 0.0:
                return said
            self._busy_left_s = None
            self._answer(self._lines.popleft())
        if self._lines and not self._line.waiting_bytes:
            self._busy_left_s = FLASH_S if self._lines[0] == "SAVE" else BUSY_S
        return said

    def _answer(self, text: str) -> None:
        if self._echo:
            self._say(text)
        try:
            self._say(self._execute(text))
        except Wrong:
            self._say("Error!")
        else:
            self._say("Done")

    def _say(self, text: str) -> None:
        self._line.put(text.encode("ascii", "replace") + b"\r\n")

    def _execute(self, text: str) -> str:
        whole: dict[str, Callable[[], str]] = {
            "V?": self._voltages,
            "F?": self._frequencies,
            "M?": self._mode,
            "WF?": lambda: f"AC Waveform: {self._waveform()}",
            "VF?": self._kinds,
            "MDC": lambda: self._set_mode(is_ac=False),
            "MAC": lambda: self._set_mode(is_ac=True),
            "WF1": lambda: self._set_waveform(is_triangle=False),
            "WF2": lambda: self._set_waveform(is_triangle=True),
            "ENVF0": lambda: self._enable_dc_in_ac(enable=False),
            "ENVF1": lambda: self._enable_dc_in_ac(enable=True),
            "SAVE": self._save,
        }
        if text in whole:
            return whole[text]()
        if match := re.fullmatch(r"V([HLZ])([1-4])", text):
            return self._set_voltage(int(match[2]), {"H": MAX_MV, "L": -MAX_MV, "Z": 0}[match[1]])
        if match := re.fullmatch(r"VF([1-4])", text):
            return self._toggle(int(match[1]))
        if text[:1] in ("V", "F") and (match := CHANNEL_AND_VALUE.match(text[1:])):
            set_value = self._set_voltage if text[0] == "V" else self._set_frequency
            return set_value(int(match[1]), int(match[2]))
        raise Wrong

    def _voltages(self) -> str:
        pairs = enumerate(self._settings.voltages_mv, 1)
        return "Voltage(mV): " + " ".join(f"CH{channel} {mv:+05d}" for channel, mv in pairs)

    def _frequencies(self) -> str:
        pairs = enumerate(self._settings.frequencies_hz, 1)
        return "Frequency(Hz): " + "  ".join(f"CH{channel} {hz:03d}" for channel, hz in pairs)

    def _waveform(self) -> str:
        return "Triangle" if self._settings.is_triangle else "Sine"

    def _mode(self) -> str:
        return f"Work Mode: AC({self._waveform()})" if self._settings.is_ac else "Work Mode: DC"

    def _kinds(self) -> str:
        state = "enabled" if self._settings.dc_in_ac else "disabled"
        kinds = ("V" if voltage else "F" for voltage in self._settings.is_voltage)
        listed = ",".join(f"CH{channel}-{kind}" for channel, kind in enumerate(kinds, 1))
        return f"Hz<->Volt at AC Mode is {state}: {listed}"

    def _set_voltage(self, channel: int, mv: int) -> str:
        if not -MAX_MV <= mv <= MAX_MV:
            raise Wrong
        self._settings.voltages_mv[channel - 1] = mv
        return f"Set CH{channel} DC Voltage at: {mv}mV"

    def _set_frequency(self, channel: int, hz: int) -> str:
        if not 0 <= hz <= MAX_HZ:
            raise Wrong
        self._settings.frequencies_hz[channel - 1] = hz
        return f"Set CH{channel} AC Frequency at: {hz}Hz"

    def _set_mode(self, *, is_ac: bool) -> str:
        self._settings.is_ac = is_ac
        return f"Set To {'AC' if is_ac else 'DC'} Mode"

    def _set_waveform(self, *, is_triangle: bool) -> str:
        self._settings.is_triangle = is_triangle
        return f"Set AC Waveform at: {self._waveform()}"

    def _enable_dc_in_ac(self, *, enable: bool) -> str:
        self._settings.dc_in_ac = enable
        return f"{'Enable' if enable else 'Disable'} DC Voltage Output at AC Mode"

    def _toggle(self, channel: int) -> str:
        is_voltage = not self._settings.is_voltage[channel - 1]
        self._settings.is_voltage[channel - 1] = is_voltage
        kind = "Volt" if is_voltage else "Hz"  # the text for Hz is not documented
        return f"Set CH{channel} output to: {kind} (if possible)"

    def _save(self) -> str:
        self._flash = deepcopy(self._settings)
        return "Write Setting to Flash memory"


def sine(phase: float) -> float:
    """A swing of 1, by the part of its period that has gone."""
    return math.sin(2.0 * math.pi * phase)


def triangle(phase: float) -> float:
    """The same with straight sides."""
    return 1.0 - 4.0 * abs((phase + 0.25) % 1.0 - 0.5)
