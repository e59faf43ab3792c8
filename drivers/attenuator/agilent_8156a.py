"""Agilent (HP) 8156A optical attenuator: SCPI over GPIB, or the same text over a socket.

Source: Agilent 8156A User's Guide, pages 85 to 116. Messages end with LF. Whatever is out of
range goes to the error queue and changes nothing, so every setting is followed by ``SYST:ERR?``.
"""

import math

import trio

from drivers.errors import BadReply, NoReply, Refused
from drivers.identity import Identity
from drivers.transport import LineProtocol, Transport

MODEL = "8156A"
REPLY_TIMEOUT_S = 2.0
SETTLE_TIMEOUT_S = 10.0
SETTLE_POLL_S = 0.02
OPER_SETTLING = 1 << 1
"""Bit 1 of the operation status: the filter's motor has not arrived (page 113)."""
RESOLUTION_DB = 0.001
QUEUE_LENGTH = 30


class Agilent8156A:
    """Driver of one 8156A on a transport that it does not own."""

    def __init__(self, transport: Transport) -> None:
        self._scpi = LineProtocol(
            transport,
            name=MODEL,
            marker="*IDN?",
            is_marker=lambda line: line.count(",") == 3,
            timeout_s=REPLY_TIMEOUT_S,
        )

    async def identity(self) -> Identity:
        reply = await self._scpi.ask("*IDN?")
        fields = [field.strip() for field in reply.split(",")]
        if len(fields) != 4:
            raise self._distrusted(f"*IDN? answered {reply[:80]!r}, not four fields")
        return Identity(model=fields[1], serial=fields[2], firmware=fields[3])

    async def clear_errors(self) -> None:
        """Forget what an earlier owner did wrong."""
        await self._scpi.write("*CLS")

    async def set_loss_db(self, loss_db: float) -> None:
        if not math.isfinite(loss_db):
            raise ValueError(f"an attenuation of {loss_db} dB")
        await self._set(f":INP:ATT {loss_db:.3f}")
        try:
            with trio.fail_after(SETTLE_TIMEOUT_S):
                while await self._settling():  # noqa: ASYNC110  a register can only be polled
                    await trio.sleep(SETTLE_POLL_S)
        except trio.TooSlowError as error:
            raise NoReply(f"{MODEL}: still moving after {SETTLE_TIMEOUT_S:g} s") from error
        reached_db = await self.loss_db()
        if abs(reached_db - loss_db) > 1.5 * RESOLUTION_DB:
            raise Refused(f"{MODEL}: asked for {loss_db:.3f} dB, it is at {reached_db:.3f} dB")

    async def loss_db(self) -> float:
        return await self._ask_float(":INP:ATT?")

    async def set_shutter(self, open: bool) -> None:  # noqa: A002  the word of the trade
        await self._set(f":OUTP {'ON' if open else 'OFF'}")
        if await self.shutter_open() is not open:
            raise Refused(f"{MODEL}: the shutter stays {'closed' if open else 'open'}")

    async def shutter_open(self) -> bool:
        reply = await self._scpi.ask(":OUTP?")
        if reply.upper() in ("1", "+1", "ON"):
            return True
        if reply.upper() in ("0", "+0", "OFF"):
            return False
        raise self._distrusted(f":OUTP? answered {reply[:80]!r}")

    async def _settling(self) -> bool:
        return bool(int(await self._ask_float(":STAT:OPER:COND?")) & OPER_SETTLING)

    async def _set(self, line: str) -> None:
        """Send a setting, and raise Refused with all that the error queue says about it."""
        complaints: list[str] = []
        (reply,) = await self._scpi.exchange((line, "SYST:ERR?"))
        while self._error_number(reply) != 0 and len(complaints) <= QUEUE_LENGTH:
            complaints.append(reply)
            reply = await self._scpi.ask("SYST:ERR?")
        if complaints:
            raise Refused(f"{MODEL}: {line!r} refused: {'; '.join(complaints)[:300]}")

    def _error_number(self, reply: str) -> int:
        try:
            return int(reply.split(",")[0])
        except ValueError:
            raise self._distrusted(f"SYST:ERR? answered {reply[:80]!r}") from None

    async def _ask_float(self, query: str) -> float:
        reply = await self._scpi.ask(query)
        try:
            value = float(reply)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._distrusted(f"{query!r} answered {reply[:80]!r}, no number")
        return value

    def _distrusted(self, what: str) -> BadReply:
        self._scpi.distrust()
        return BadReply(f"{MODEL}: {what}")
