"""The simulated Agilent 8156A: a motor-driven optical attenuator with a shutter, SCPI.

After the 8156A User's Guide, chapters 7 and 8 (pages 85 to 116). The sweep, the display and the
absolute power mode are left out: their headers answer -113, as an instrument without them would.
"""

from drivers.sim.scpi import Scpi, ScpiError, answer, choice, value_of

IDENTITY = "HEWLETT-PACKARD,HP8156A,0,1.03"  # no serial number is supplied (page 97)

MAX_FILTER_DB = 60.0
STEP_DB = 0.001
MAX_OFFSET_DB = 99.999
MIN_WAVELENGTH_M, MAX_WAVELENGTH_M, DEFAULT_WAVELENGTH_M = 1200e-9, 1650e-9, 1310e-9

# Not in the guide: chosen so that settling takes 30 ms for a small step and 330 ms for all
MOTOR_DB_PER_S = 200.0
SETTLE_S = 0.03

SETTLING = 1 << 1  # STATus:OPERation:CONDition (page 115)
DECIBELS = {"": 1.0, "DB": 1.0}
METRES = {"": 1.0, "M": 1.0, "MM": 1e-3, "UM": 1e-6, "NM": 1e-9, "PM": 1e-12}
SWITCH = {"0": False, "OFF": False, "1": True, "ON": True}
AT_POWER_ON = {"0": False, "DIS": False, "OFF": False, "1": True, "LAST": True, "ON": True}


class HP8156A:
    """A filter that runs to its target, and a shutter that is closed after power-on."""

    def __init__(self) -> None:
        self._shutter_last = False  # kept in non-volatile memory with the next line
        self._apow_last = False
        self._position_db = self._target_db = 0.0
        self._settle_left_s = 0.0
        self.power_cycle()

    def power_cycle(self) -> None:
        """Off and on again: the shutter closes, unless APOWeron says LAST."""
        self._scpi = Scpi(identity=IDENTITY, reset=self._reset, busy=self._is_settling)
        self._add_commands()
        self.shutter_open = self._apow_last and self._shutter_last
        self._reset_settings()

    @property
    def attenuation_db(self) -> float:
        """The filter's attenuation where its motor now stands."""
        return self._position_db

    def _is_settling(self) -> bool:
        return self._settle_left_s > 0.0

    def connected(self) -> None:
        """A new session begins with an empty input buffer."""
        self._scpi.clear_input()

    def receive(self, data: bytes) -> bytes:
        return self._scpi.receive(data)

    def advance(self, dt_s: float) -> bytes:
        """Let the motor run for ``dt_s``; answers that waited for it."""
        distance_db = self._target_db - self._position_db
        step_db = min(abs(distance_db), MOTOR_DB_PER_S * dt_s)
        if step_db < abs(distance_db):
            self._position_db += step_db if distance_db > 0 else -step_db
        else:
            self._position_db = self._target_db
            rest_s = dt_s - step_db / MOTOR_DB_PER_S
            self._settle_left_s = max(0.0, self._settle_left_s - rest_s)
        self._scpi.operation.update(SETTLING if self._is_settling() else 0)
        return self._scpi.go_on()

    def _reset_settings(self) -> None:
        self._offset_db = 0.0
        self._wavelength_m = DEFAULT_WAVELENGTH_M
        self._go_to(0.0)

    def _reset(self) -> None:
        self._reset_settings()
        self._set_shutter(False)

    def _go_to(self, filter_db: float) -> None:
        self._target_db = filter_db
        self._settle_left_s = SETTLE_S
        self._scpi.operation.update(SETTLING)

    def _add_commands(self) -> None:
        add = self._scpi.add
        add("INPut:ATTenuation", self._set_attenuation)
        add("INPut:ATTenuation?", self._attenuation)
        add("INPut:OFFSet", self._set_offset)
        add("INPut:OFFSet?", self._offset)
        add("INPut:OFFSet:DISPlay", self._offset_display)
        add("INPut:WAVelength", self._set_wavelength)
        add("INPut:WAVelength?", self._wavelength)
        add("OUTPut[:STATe]", lambda text: self._set_shutter(choice(text, SWITCH)))
        add("OUTPut[:STATe]?", lambda _: f"{self.shutter_open:d}")
        add("OUTPut[:STATe]:APOWeron", self._set_apow)
        add("OUTPut[:STATe]:APOWeron?", lambda _: f"{self._apow_last:d}")

    def _set_attenuation(self, text: str) -> None:
        low_db, high_db = self._offset_db, self._offset_db + MAX_FILTER_DB
        named = {"MIN": low_db, "DEF": low_db, "MAX": high_db}
        attenuation_db = value_of(text, DECIBELS, named, low_db, high_db)
        self._go_to(round((attenuation_db - self._offset_db) / STEP_DB) * STEP_DB)

    def _attenuation(self, text: str) -> str:
        low_db, high_db = self._offset_db, self._offset_db + MAX_FILTER_DB
        named = {"MIN": low_db, "DEF": low_db, "MAX": high_db}
        return answer(text, self._target_db + self._offset_db, named, "{:.3f}".format)

    def _set_offset(self, text: str) -> None:
        named = {"MIN": -MAX_OFFSET_DB, "DEF": 0.0, "MAX": MAX_OFFSET_DB}
        self._offset_db = value_of(text, DECIBELS, named, -MAX_OFFSET_DB, MAX_OFFSET_DB)

    def _offset(self, text: str) -> str:
        named = {"MIN": -MAX_OFFSET_DB, "DEF": 0.0, "MAX": MAX_OFFSET_DB}
        return answer(text, self._offset_db, named, "{:.3f}".format)

    def _offset_display(self, text: str) -> None:
        if text:
            raise ScpiError(-108, "Parameter not allowed")
        self._offset_db = -self._target_db

    def _set_wavelength(self, text: str) -> None:
        named = {"MIN": MIN_WAVELENGTH_M, "DEF": DEFAULT_WAVELENGTH_M, "MAX": MAX_WAVELENGTH_M}
        self._wavelength_m = value_of(text, METRES, named, MIN_WAVELENGTH_M, MAX_WAVELENGTH_M)
        self._go_to(self._target_db)  # the same attenuation stands elsewhere on the wheel

    def _wavelength(self, text: str) -> str:
        named = {"MIN": MIN_WAVELENGTH_M, "DEF": DEFAULT_WAVELENGTH_M, "MAX": MAX_WAVELENGTH_M}
        return answer(text, self._wavelength_m, named, "{:.6E}".format)

    def _set_shutter(self, is_open: bool) -> None:
        self.shutter_open = self._shutter_last = is_open

    def _set_apow(self, text: str) -> None:
        self._apow_last = choice(text, AT_POWER_ON)
