"""Thorlabs PM100D, PM100USB, PM101, PM400: optical power meters, SCPI over USBTMC.

Sources: PM100D manual, pages 49 to 51; PM100USB manual, pages 20 to 22; PM400 manual, pages 42 to
48 (zeroing). Messages end with LF. A second query before the reply to the first mixes the two. A
wrong or refused command is told by the error queue alone, so every setting is followed by
``SYST:ERR?`` and read back. The PM16 is left out: it is said to know no averaging.
"""

import math
import re

import trio

from drivers.errors import BadReply, Fault, NoReply, Refused
from drivers.identity import Identity
from drivers.powermeter import PowerMeterStatus
from drivers.powermeter.single_query import SingleQuery
from drivers.transport import Transport

MODEL = "PM100"
VENDOR = "thorlabs"
REPLY_TIMEOUT_S = 5.0
ZERO_TIMEOUT_S = 30.0
ZERO_POLL_S = 0.1
QUEUE_LENGTH = 30
OVER_RANGE_W = 9.0e37
"""SCPI's 9.9E37 stands for infinity, 9.91E37 for no number; that this meter follows is assumed."""
WAVELENGTH_STEP_NM = 0.5
"""It may round; at 1550 nm half a step changes an InGaAs head's responsivity by less than 0.1 %."""

_MODELS = re.compile(r"PM(100|101|400)", re.IGNORECASE)


class ThorlabsPm100:
    """Driver of one meter on a transport that it does not own; `settle` before the first use."""

    def __init__(self, transport: Transport) -> None:
        self._scpi = SingleQuery(transport, name=MODEL, timeout_s=REPLY_TIMEOUT_S)

    async def identity(self) -> Identity:
        """The vendor's name is written in capitals by some firmwares, and not by others.

        Raises
        ------
        BadReply
            If another device answers; the message has its name.
        """
        reply = await self._ask("*IDN?")
        fields = [field.strip() for field in reply.split(",")]
        known = len(fields) == 4 and fields[0].lower() == VENDOR and _MODELS.match(fields[1])
        if not known:
            raise self._distrusted(f"expected a Thorlabs {MODEL}, but {reply[:80]!r} answers")
        return Identity(model=fields[1], serial=fields[2], firmware=fields[3])

    async def settle(self) -> None:
        """Forget an earlier owner's errors, and have power measured in watts."""
        await self._scpi.exchange(("*CLS",))
        await self._set("CONF:POW")
        await self._set("SENS:POW:UNIT W")

    async def set_wavelength_nm(self, wavelength_nm: float) -> None:
        _require_positive(wavelength_nm, "a wavelength", "nm")
        await self._set(f"SENS:CORR:WAV {wavelength_nm:.3f}")
        taken_nm = await self._ask_float("SENS:CORR:WAV?")
        if abs(taken_nm - wavelength_nm) > WAVELENGTH_STEP_NM:
            raise Refused(f"{MODEL}: asked for {wavelength_nm:.3f} nm, it took {taken_nm:.3f} nm")

    async def set_range_w(self, range_w: float | None) -> None:
        if range_w is None:
            await self._set_auto_range(on=True)
        else:
            _require_positive(range_w, "a range", "W")
            await self._set_auto_range(on=False)
            await self._set(f"SENS:POW:RANG {range_w:.6E}")
            taken_w = await self._ask_float("SENS:POW:RANG?")
            if taken_w < range_w * (1 - 1e-6):
                raise Refused(f"{MODEL}: asked for a range of {range_w:g} W, it took {taken_w:g} W")

    async def set_averages(self, n_averages: int) -> None:
        if n_averages < 1:
            raise ValueError(f"a mean of {n_averages} samples")
        await self._set(f"SENS:AVER:COUN {n_averages}")
        taken = await self._ask_float("SENS:AVER:COUN?")
        if taken != n_averages:
            raise Refused(f"{MODEL}: asked for {n_averages} averages, it took {taken:g}")

    async def power_w(self) -> float:
        power_w = await self._ask_float("MEAS:POW?")
        if abs(power_w) >= OVER_RANGE_W:
            raise Fault(f"{MODEL}: over range ({power_w:g}): widen the range, or weaken the light")
        return power_w

    async def zero(self) -> None:
        await self._set("SENS:CORR:COLL:ZERO:INIT")
        try:
            with trio.fail_after(ZERO_TIMEOUT_S):
                while await self._ask_bool("SENS:CORR:COLL:ZERO:STAT?"):  # noqa: ASYNC110  no event
                    await trio.sleep(ZERO_POLL_S)
        except trio.TooSlowError as error:
            raise NoReply(f"{MODEL}: still zeroing after {ZERO_TIMEOUT_S:g} s") from error
        complaints = await self._complaints()
        if complaints:
            raise Fault(f"{MODEL}: not zeroed: {'; '.join(complaints)[:300]}")

    async def status(self) -> PowerMeterStatus:
        return PowerMeterStatus(
            wavelength_nm=await self._ask_float("SENS:CORR:WAV?"),
            range_w=await self._ask_float("SENS:POW:RANG?"),
            auto_range=await self._ask_bool("SENS:POW:RANG:AUTO?"),
            n_averages=int(await self._ask_float("SENS:AVER:COUN?")),
            sensor=await self._sensor(),
            errors=tuple(await self._complaints()),
        )

    async def _sensor(self) -> str:
        """Name and serial number of the head, the first two of its six fields."""
        reply = await self._ask("SYST:SENS:IDN?")
        fields = [field.strip(' "') for field in reply.split(",")]
        if len(fields) < 6:
            raise self._distrusted(f"SYST:SENS:IDN? answered {reply[:80]!r}, not six fields")
        return f"{fields[0]} {fields[1]}".strip()

    async def _set_auto_range(self, on: bool) -> None:
        await self._set(f"SENS:POW:RANG:AUTO {on:d}")
        if await self._ask_bool("SENS:POW:RANG:AUTO?") is not on:
            raise Refused(f"{MODEL}: the range stays {'fixed' if on else 'automatic'}")

    async def _set(self, line: str) -> None:
        """Send a setting, and raise Refused with all that the error queue says about it."""
        (reply,) = await self._scpi.exchange((line, "SYST:ERR?"))
        complaints = await self._complaints(reply)
        if complaints:
            raise Refused(f"{MODEL}: {line!r} refused: {'; '.join(complaints)[:300]}")

    async def _complaints(self, reply: str | None = None) -> list[str]:
        """Empty the error queue, whose head may be in ``reply`` already."""
        complaints: list[str] = []
        while len(complaints) <= QUEUE_LENGTH:
            reply = reply if reply is not None else await self._ask("SYST:ERR?")
            if self._error_number(reply) == 0:
                break
            complaints.append(reply)
            reply = None
        return complaints

    def _error_number(self, reply: str) -> int:
        try:
            return int(reply.split(",")[0])
        except ValueError:
            raise self._distrusted(f"SYST:ERR? answered {reply[:80]!r}") from None

    async def _ask_bool(self, query: str) -> bool:
        reply = await self._ask(query)
        if reply not in ("0", "1", "+0", "+1"):
            raise self._distrusted(f"{query!r} answered {reply[:80]!r}, neither 0 nor 1")
        return reply.endswith("1")

    async def _ask_float(self, query: str) -> float:
        reply = await self._ask(query)
        try:
            value = float(reply)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._distrusted(f"{query!r} answered {reply[:80]!r}, no number")
        return value

    async def _ask(self, query: str) -> str:
        return (await self._scpi.exchange((query,)))[0]

    def _distrusted(self, what: str) -> BadReply:
        self._scpi.distrust()
        return BadReply(f"{MODEL}: {what}")


def _require_positive(value: float, what: str, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} of {value} {unit}")
