"""The simulated Thorlabs PM100D: an optical power meter with an InGaAs photodiode, SCPI.

Commands are those that public clients of the PM100D, PM100USB and PM400 speak. Who sends a query
before the answer to the one before has come gets the two mixed into one line. Where nothing public
says what the device does, the comment says "not documented".
"""

import math
import re
from collections import deque

from drivers.sim.scpi import Scpi, ScpiError, answer, choice, number, value_of

IDENTITY = "THORLABS,PM100D,P2000001,2.4.0"
SENSOR = "S154C,14092301,24-Jan-2014,1,2,33"  # photodiode; 33: a power sensor, wavelength settable

SAMPLE_S = 0.003  # of one average, as a public client says
MAX_AVERAGES = 3000  # not documented, as are the next five
BUSY_S = 0.001
ZERO_S = 0.3
DARK_A = 2e-10
MAX_WAITING_MESSAGES = 100
MAX_MESSAGE_BYTES = 4096

MIN_NM, MAX_NM, DEFAULT_NM = 800.0, 1700.0, 1310.0  # the default is not the host's wavelength
AMPERE_PER_WATT_NM = 0.95 / 1550.0
"""Of a diode whose quantum efficiency is 0.76 at all wavelengths."""

RANGES_W = tuple(3.0 * 10.0**exponent for exponent in range(-9, -2))
OVER_RANGE, NOT_A_NUMBER = 9.9e37, 9.91e37  # SCPI-1999 volume 1, 7.2.1

WATTS = {"": 1.0, "W": 1.0, "MW": 1e-3, "UW": 1e-6, "NW": 1e-9}
NANOMETRES = {"": 1.0, "NM": 1.0}
SWITCH = {"0": False, "OFF": False, "1": True, "ON": True}
IN_DBM = {"W": False, "DBM": True}
MEASURES = re.compile(rb"(?:^|[;:])\s*(?:MEAS\w*(?::\w+)*\?|READ\?|INIT\w*(?::\w+)*(?=\s|;|$))")


class PM100:
    """One message after the other: IDLE --message--> BUSY --its time--> executed, answered.

    ``power_w`` is the light on the sensor, of ``wavelength_nm``. Its readings have no noise.
    """

    def __init__(self, *, wavelength_nm: float) -> None:
        self.power_w = 0.0
        self._light_nm = wavelength_nm
        self.power_cycle()

    def power_cycle(self) -> None:
        """Off and on again: every setting is the factory's."""
        self._scpi = Scpi(
            identity=IDENTITY, reset=self._reset, busy=lambda: False, no_error='+0,"No error"'
        )
        self._add_commands()
        self._zero_a = 0.0
        self._reset()
        self.connected()

    def connected(self) -> None:
        """A new session begins with empty buffers."""
        self._scpi.clear_input()
        self._received = bytearray()
        self._messages: deque[bytes] = deque()
        self._busy_left_s: float | None = None
        self._unread = b""
        self._mixed = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes in any chunks; the answers come from :meth:`advance`."""
        for byte in data:
            self._received.append(byte)
            if byte != ord("\n") and len(self._received) <= MAX_MESSAGE_BYTES:
                continue
            message = bytes(self._received)
            self._received.clear()
            if b"?" in message and any(b"?" in waiting for waiting in self._messages):
                self._mixed = True
            if len(self._messages) < MAX_WAITING_MESSAGES:
                self._messages.append(message)
        return b""

    def advance(self, dt_s: float) -> bytes:
        """Let ``dt_s`` pass; what the meter says in that time."""
        self._zero(dt_s)
        said = b""
        while self._messages:
            if self._busy_left_s is None:
                self._busy_left_s = self._duration_s(self._messages[0])
            if self._busy_left_s > dt_s:
                self._busy_left_s -= dt_s
                break
            dt_s -= self._busy_left_s
            self._busy_left_s = None
            reply = self._scpi.receive(self._messages.popleft())
            self._unread = written_over(self._unread, reply) if self._mixed else reply
            if not (self._mixed and self._messages):
                said += self._unread
                self._unread, self._mixed = b"", False
        return said

    def _duration_s(self, message: bytes) -> float:
        n_measurements = len(MEASURES.findall(message.upper()))
        return BUSY_S + n_measurements * self._averages * SAMPLE_S

    def _reset(self) -> None:
        self._averages = 1
        self._wavelength_nm = DEFAULT_NM
        self._auto, self._range_w = True, RANGES_W[-1]
        self._in_dbm = False
        self._function = "POW"
        self._reading: float | None = None
        self._zero_left_s: float | None = None

    def _add_commands(self) -> None:
        add = self._scpi.add
        add("SYSTem:SENSor:IDN?", lambda _: SENSOR)
        add("SENSe:AVERage:COUNt", self._set_averages)
        add("SENSe:AVERage:COUNt?", lambda _: str(self._averages))
        add("SENSe:CORRection:WAVelength", self._set_wavelength)
        add("SENSe:CORRection:WAVelength?", self._wavelength)
        add("SENSe:CORRection:COLLect:ZERO[:INITiate]", lambda _: self._start_zero())
        add("SENSe:CORRection:COLLect:ZERO:ABORt", lambda _: self._stop_zero())
        add("SENSe:CORRection:COLLect:ZERO:STATe?", lambda _: f"{self._zero_left_s is not None:d}")
        add("SENSe:CORRection:COLLect:ZERO:MAGNitude?", lambda _: written(self._zero_a))
        add("SENSe:POWer:RANGe[:UPPer]", self._set_range)
        add("SENSe:POWer:RANGe[:UPPer]?", self._range)
        add("SENSe:POWer:RANGe:AUTO", self._set_auto)
        add("SENSe:POWer:RANGe:AUTO?", lambda _: f"{self._auto:d}")
        add("SENSe:POWer:UNIT", self._set_unit)
        add("SENSe:POWer:UNIT?", lambda _: "DBM" if self._in_dbm else "W")
        add("CONFigure[:SCALar]:POWer", lambda _: self._configure("POW"))
        add("CONFigure[:SCALar]:CURRent", lambda _: self._configure("CURR"))
        add("MEASure[:SCALar]:POWer?", lambda _: self._measure("POW"))
        add("MEASure[:SCALar]:CURRent?", lambda _: self._measure("CURR"))
        add("MEASure[:SCALar]?", lambda _: self._measure("POW"))
        add("CONFigure?", lambda _: self._function)
        add("INITiate[:IMMediate]", lambda _: self._initiate())
        add("FETCh?", lambda _: self._fetch())
        add("READ?", lambda _: self._measure(self._function))

    def _set_averages(self, text: str) -> None:
        named = {"MIN": 1.0, "DEF": 1.0, "MAX": float(MAX_AVERAGES)}
        self._averages = round(value_of(text, {"": 1.0}, named, 1.0, float(MAX_AVERAGES)))

    def _set_wavelength(self, text: str) -> None:
        named = {"MIN": MIN_NM, "DEF": DEFAULT_NM, "MAX": MAX_NM}
        self._wavelength_nm = value_of(text, NANOMETRES, named, MIN_NM, MAX_NM)

    def _wavelength(self, text: str) -> str:
        named = {"MIN": MIN_NM, "DEF": DEFAULT_NM, "MAX": MAX_NM}
        return answer(text, self._wavelength_nm, named, written)

    def _set_range(self, text: str) -> None:
        """The smallest range that holds the value; it ends the automatic choice."""
        named = {"MIN": RANGES_W[0], "MAX": RANGES_W[-1]}
        range_w = named[text] if text in named else number(text, WATTS)
        fitting = [upper_w for upper_w in RANGES_W if 0.0 <= range_w <= upper_w * (1 + 1e-9)]
        if not fitting:
            raise ScpiError(-222, "Data out of range")
        self._range_w, self._auto = fitting[0], False

    def _range(self, text: str) -> str:
        return answer(
            text, self._range_in_use_w(), {"MIN": RANGES_W[0], "MAX": RANGES_W[-1]}, written
        )

    def _set_auto(self, text: str) -> None:
        self._range_w = self._range_in_use_w()
        self._auto = choice(text, SWITCH)

    def _set_unit(self, text: str) -> None:
        self._in_dbm = choice(text, IN_DBM)

    def _configure(self, function: str) -> None:
        if function != self._function:
            self._function, self._reading = function, None

    def _initiate(self) -> None:
        self._reading = self._measured()

    def _fetch(self) -> str:
        if self._reading is None:
            raise ScpiError(-230, "Data corrupt or stale")
        return written(self._reading)

    def _measure(self, function: str) -> str:
        self._configure(function)
        self._initiate()
        return self._fetch()

    def _start_zero(self) -> None:
        self._zero_left_s = ZERO_S

    def _stop_zero(self) -> None:
        self._zero_left_s = None

    def _zero(self, dt_s: float) -> None:
        """Take what flows at the end for the dark; light that is on is taken for it too."""
        if self._zero_left_s is None:
            return
        self._zero_left_s -= dt_s
        if self._zero_left_s <= 0.0:
            self._zero_left_s = None
            self._zero_a = self._diode_a()

    def _diode_a(self) -> float:
        return self.power_w * AMPERE_PER_WATT_NM * self._light_nm + DARK_A

    def _shown_w(self) -> float:
        """What the meter takes the diode's current for: it believes the wavelength it was told."""
        return (self._diode_a() - self._zero_a) / (AMPERE_PER_WATT_NM * self._wavelength_nm)

    def _range_in_use_w(self) -> float:
        if not self._auto:
            return self._range_w
        shown_w = abs(self._shown_w())
        return next((upper_w for upper_w in RANGES_W if shown_w <= upper_w), RANGES_W[-1])

    def _measured(self) -> float:
        shown_w = self._shown_w()
        if shown_w > self._range_in_use_w():
            return OVER_RANGE
        if self._function == "CURR":
            return self._diode_a() - self._zero_a
        if self._in_dbm:
            return 10.0 * math.log10(shown_w * 1e3) if shown_w > 0.0 else NOT_A_NUMBER
        return shown_w


def written(value: float) -> str:
    return f"{value:.7E}"


def written_over(unread: bytes, reply: bytes) -> bytes:
    """One buffer for both: the later answer stands over the beginning of the earlier."""
    return reply.rstrip(b"\n") + unread[len(reply.rstrip(b"\n")) :] if unread else reply
