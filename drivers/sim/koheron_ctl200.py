"""The simulated Koheron CTL200: a laser-diode and TEC controller, text over a serial line.

The device echoes a line, answers one value line and then prompts with ``>>``, no newline. Whoever
sends before the prompt loses those bytes and finds bit 1 in the error word. Command names, formats
and the answers of ``save`` and ``errclr`` are those of Koheron's command list as two public clients
speak it; where nothing public says what the device does, the comment says "not documented".
"""

import math
import re
from dataclasses import dataclass
from enum import IntFlag

PROMPT = b">>"
BUSY_S = 0.001  # from the end of a line to its prompt; 12 bytes at 115200 baud take as long
MAX_LINE_BYTES = 128  # not documented
MAX_USERDATA_CHARS = 31
NUL_EVERY = 16  # NUL bytes may be mixed in: here one before every 16th prompt

AMBIENT_OHM = 10_000.0  # a 10 kohm thermistor at 25 degC
OPEN_THERMISTOR_OHM = 1e6
TEC_TAU_S = 0.5  # of the loop; without the TEC the diode drifts to the room ten times slower


class Error(IntFlag):
    """Bits of ``err``."""

    UART_OVERFLOW = 1 << 0
    BEFORE_PROMPT = 1 << 1
    UNDER_TEMPERATURE = 1 << 2
    OVER_TEMPERATURE = 1 << 3
    UNKNOWN_COMMAND = 1 << 4
    INVALID_ARGUMENT = 1 << 5
    INTERLOCK_OPEN = 1 << 6
    INTERLOCK_TRIGGERED = 1 << 7


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that the host may set; ``whole`` ones print and read as integers."""

    lowest: float
    highest: float
    default: float
    whole: bool = False


def switch(default: int) -> Setting:
    return Setting(0, 1, default, whole=True)


SETTINGS = {
    "lason": switch(0),
    "ilaser": Setting(0, 1000, 0),
    "ilmax": Setting(0, 1000, 400),
    "ldelay": Setting(10, 100_000, 1000),
    "lckon": switch(1),
    "lmodgain": Setting(-100, 100, 0),
    "tecon": switch(0),
    "rtset": Setting(0, 1e6, 10_000),
    "pgain": Setting(0, 0.1, 0.02),
    "igain": Setting(0, 0.1, 0.01),
    "dgain": Setting(0, 0.1, 0),
    "tprot": switch(1),
    "rtmin": Setting(0, 1e6, 5_000),
    "rtmax": Setting(0, 1e6, 20_000),
    "vtmin": Setting(-3, 0, -1),
    "vtmax": Setting(0, 3, 1),
    "tmodgain": Setting(-100_000, 100_000, 0),
    "brate": Setting(9_600, 460_800, 115_200, whole=True),
}
MEASURED = ("vlaser", "iphd", "itec", "vtec", "rtact", "ain1", "ain2", "tboard")
IDENTITY = {"model": "CTL200-0", "version": "v0.17", "serial": "SIM0000001"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z")


class CTL200:
    """IDLE --line--> BUSY --1 ms--> IDLE; the laser: OFF --lason 1--> DELAY --ldelay--> ON.

    ``interlock_open``, ``thermistor_open`` and ``power_cycle`` are what a hand can do to it.
    """

    def __init__(self, *, threshold_ma: float = 10.0) -> None:
        self.interlock_open = False
        self.thermistor_open = False
        self._threshold_ma = threshold_ma
        self._flash = {name: setting.default for name, setting in SETTINGS.items()}
        self._userdata_in_flash = ""
        self._heat_ohm = AMBIENT_OHM
        self._n_prompts = 0
        self.power_cycle()

    def power_cycle(self) -> None:
        """Off and on again: what was not saved is gone, and the laser is off."""
        self._values = self._flash | {"lason": 0.0}
        self._userdata = self._userdata_in_flash
        self._errors = Error(0)
        self._delay_left_s = 0.0
        self._line = bytearray()
        self._overlong = False
        self._busy_left_s: float | None = None
        self._answer = b""

    @property
    def current_ma(self) -> float:
        """What flows through the laser diode."""
        on = self._values["lason"] and not self._delay_left_s > 0.0
        return min(self._values["ilaser"], self._values["ilmax"]) if on else 0.0

    def open_interlock(self, is_open: bool) -> None:
        """Open the loop of the interlock, or close it; the laser stays off until it is told."""
        self.interlock_open = is_open

    def receive(self, data: bytes) -> bytes:
        """Echo lines; the answer and the prompt follow from :meth:`advance`."""
        echo = bytearray()
        for byte in data:
            if self._busy_left_s is not None:
                self._errors |= Error.BEFORE_PROMPT
                continue
            self._line.append(byte)
            if byte == ord("\n"):
                echo += self._take_line()
            elif len(self._line) > MAX_LINE_BYTES:
                self._errors |= Error.UART_OVERFLOW
                self._overlong = True
                self._line.clear()
        return bytes(echo)

    def advance(self, dt_s: float) -> bytes:
        """Let ``dt_s`` pass; what the device says in that time."""
        self._warm(dt_s)
        self._delay_left_s = max(0.0, self._delay_left_s - dt_s)
        self._protect()
        if self._busy_left_s is None:
            return b""
        self._busy_left_s -= dt_s
        if self._busy_left_s > 0.0:
            return b""
        self._busy_left_s = None
        self._n_prompts += 1
        stray = b"\0" if self._n_prompts % NUL_EVERY == 0 else b""
        return self._answer + stray + PROMPT

    def _take_line(self) -> bytes:
        line = bytes(self._line).rstrip(b"\r\n")
        self._line.clear()
        if self._overlong:  # the rest of a line that did not fit says nothing
            self._overlong = False
            return b""
        self._busy_left_s = BUSY_S
        text = line.replace(b"\0", b"").decode("ascii", "replace").strip()
        answer = self._execute(text)
        self._answer = b"" if answer is None else answer.encode("ascii", "replace") + b"\r\n"
        return line + b"\r\n"

    def _execute(self, text: str) -> str | None:
        name, _, argument = text.partition(" ")
        argument = argument.strip()
        if name in SETTINGS:
            return self._setting(name, argument)
        if name == "userdata":
            return self._user_data(argument)
        if argument and name in (*MEASURED, *IDENTITY, "status", "err", "errclr", "save"):
            self._errors |= Error.INVALID_ARGUMENT
        if name in MEASURED:
            return f"{self._measured()[name]:.3f}"
        match name:
            case "":
                return None
            case "status":
                return self._status()
            case "err":
                return f"{int(self._errors):x}"
            case "errclr":
                self._errors = Error(0)
                return "ffffffff"
            case "save":
                self._flash, self._userdata_in_flash = dict(self._values), self._userdata
                return "config saved"
        if name in IDENTITY:
            return IDENTITY[name]
        self._errors |= Error.UNKNOWN_COMMAND
        return "unknown command"  # the bit is documented, the text is not

    def _setting(self, name: str, argument: str) -> str:
        setting = SETTINGS[name]
        if argument:
            value = float(argument) if NUMBER.match(argument) else math.nan
            highest = self._values["ilmax"] if name == "ilaser" else setting.highest
            if not setting.lowest <= value <= highest or (setting.whole and value % 1):
                self._errors |= Error.INVALID_ARGUMENT  # the value stays as it was
            elif name == "lason":
                self._switch_laser(value)
            else:
                self._values[name] = value
        value = self._values[name]
        return f"{value:.0f}" if setting.whole else f"{value:.3f}"

    def _switch_laser(self, on: float) -> None:
        if on and not self._values["lason"]:
            self._delay_left_s = self._values["ldelay"] / 1000.0
        self._values["lason"] = on
        if on and self._values["lckon"] and self.interlock_open:
            self._values["lason"] = 0.0
            self._errors |= Error.INTERLOCK_OPEN
        self._protect()

    def _protect(self) -> None:
        """Switch the laser off where the interlock or the temperature says so."""
        if not self._values["lason"]:
            return
        if self._values["lckon"] and self.interlock_open:
            self._values["lason"] = 0.0
            self._errors |= Error.INTERLOCK_TRIGGERED
        if self._values["tprot"]:
            ohm = self._thermistor_ohm()
            if ohm > self._values["rtmax"]:  # a cold thermistor has a high resistance
                self._errors |= Error.UNDER_TEMPERATURE
                self._values["lason"] = 0.0
            elif ohm < self._values["rtmin"]:
                self._errors |= Error.OVER_TEMPERATURE
                self._values["lason"] = 0.0

    def _user_data(self, argument: str) -> str:
        verb, _, text = argument.partition(" ")
        if verb == "write":
            self._userdata = text[:MAX_USERDATA_CHARS]
        elif argument:
            self._errors |= Error.INVALID_ARGUMENT
        return self._userdata

    def _warm(self, dt_s: float) -> None:
        on = bool(self._values["tecon"])
        aim_ohm, tau_s = (self._values["rtset"], TEC_TAU_S) if on else (AMBIENT_OHM, 10 * TEC_TAU_S)
        self._heat_ohm += (aim_ohm - self._heat_ohm) * -math.expm1(-dt_s / tau_s)

    def _thermistor_ohm(self) -> float:
        return OPEN_THERMISTOR_OHM if self.thermistor_open else self._heat_ohm

    def _measured(self) -> dict[str, float]:
        current_ma = self.current_ma
        tec_a = (AMBIENT_OHM - self._heat_ohm) * 1e-4 if self._values["tecon"] else 0.0
        return {
            "vlaser": 0.9 + 2.5e-3 * current_ma if current_ma else 0.0,
            "iphd": 0.01 * max(0.0, current_ma - self._threshold_ma),
            "itec": tec_a,
            "vtec": min(max(2.0 * tec_a, self._values["vtmin"]), self._values["vtmax"]),
            "rtact": self._thermistor_ohm(),
            "ain1": 0.0,
            "ain2": 0.0,
            "tboard": 32.0 + 0.01 * current_ma,
        }

    def _status(self) -> str:
        measured = self._measured()
        names = ("vlaser", "itec", "vtec", "rtact", "iphd", "ain1", "ain2")
        values = " ".join(f"{measured[name]:.6g}" for name in names)
        return f"{self._values['lason']:.0f} {values}"
