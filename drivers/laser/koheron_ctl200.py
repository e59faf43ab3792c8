"""Koheron CTL200: current and temperature controller of a laser diode, text over serial.

Sources: pymeasure's koheron_ctl200.py and its recorded tests; VeriQloud kiwi_hw_control's
koheron_control.py. The device echoes the command, answers one line, then prompts ``>>`` without
an end of line; nothing may be sent before the prompt. NUL bytes may be mixed in.
"""

import math
import re

import trio

from drivers.errors import BadReply, NoReply, Refused
from drivers.exchange_lock import ExchangeLock
from drivers.identity import Identity
from drivers.laser import LaserLight, LaserStatus
from drivers.transport import Reader, Transport

MODEL = "CTL200"
BAUD = 115200
REPLY_TIMEOUT_S = 1.0
QUIET_S = 0.3
PROMPT = b">>"
ANSWER_LIMIT_BYTES = 4096
CURRENT_STEP_MA = 0.001
MAX_DELAY_MS = 100_000.0
"""Of the soft start (command ldelay): the device takes no more."""

ERRORS = {
    0: "UART buffer overflow",
    1: "command sent before the prompt",
    2: "laser under-temperature",
    3: "laser over-temperature",
    4: "unknown command",
    5: "invalid argument",
    6: "laser switched on while the interlock is open",
    7: "interlock triggered",
}
TALK_ERRORS = 0b0011_0011
"""Bits that say something about our talk (or our predecessor's), nothing about the laser."""

_WORD = re.compile(r"(0[xX])?[0-9A-Fa-f]{1,8}")


class KoheronCtl200:
    """Driver of one CTL200 on a transport that it does not own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._reader = Reader(transport, name=MODEL)
        self._lock = ExchangeLock()
        self._in_step = False

    async def identity(self) -> Identity:
        return Identity(
            model=await self._ask("model"),
            serial=await self._ask("serial"),
            firmware=await self._ask("version"),
        )

    async def set_current_ma(self, current_ma: float) -> None:
        if not (math.isfinite(current_ma) and current_ma >= 0):
            raise ValueError(f"a laser current of {current_ma} mA")
        taken_ma = await self._ask_float(f"ilaser {current_ma:.3f}")
        if abs(taken_ma - current_ma) > CURRENT_STEP_MA:
            raise Refused(
                f"{MODEL}: asked for {current_ma:.3f} mA, it took {taken_ma:.3f} mA"
                f"{await self._reason()} (its limit: command ilmax)"
            )

    async def set_output(self, on: bool) -> None:
        """Switch the light, and wait out the soft start (command ldelay) before it is there.

        Switching on clears the error word first: an interlock that was opened and closed again
        leaves its bits, and what still holds comes back as soon as it is on.
        """
        was_on = on and await self._is_on()
        if on:
            await self._converse("errclr")
        await self._ask(f"lason {on:d}")
        await self._require_output(on)
        if on and not was_on:
            await trio.sleep(await self._delay_ms() / 1000)
            await self._require_output(on)

    async def _delay_ms(self) -> float:
        delay_ms = await self._ask_float("ldelay")
        if not 0 <= delay_ms <= MAX_DELAY_MS:
            raise self._distrusted(f"a soft start of {delay_ms:g} ms, over {MAX_DELAY_MS:g} ms")
        return delay_ms

    async def status(self) -> LaserStatus:
        fields = (await self._ask("status")).split()
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        finite = all(math.isfinite(value) for value in values)
        if len(values) != 8 or not finite or values[0] not in (0.0, 1.0):
            raise self._distrusted(f"status is not 8 numbers but {' '.join(fields)[:80]!r}")
        on, diode_v, _, _, thermistor_ohm, monitor_ma, _, _ = values
        return LaserStatus(
            on=bool(on),
            current_ma=await self._ask_float("ilaser"),
            diode_v=diode_v,
            monitor_ma=monitor_ma,
            thermistor_ohm=thermistor_ohm,
            errors=await self._errors(),
        )

    async def light(self) -> LaserLight:
        return LaserLight(on=await self._is_on(), errors=await self._errors())

    async def _require_output(self, on: bool) -> None:
        if await self._is_on() is not on:
            raise Refused(f"{MODEL}: the laser stays {'off' if on else 'on'}{await self._reason()}")

    async def _is_on(self) -> bool:
        reply = await self._ask("lason")
        if reply not in ("0", "1"):
            raise self._distrusted(f"lason is {reply!r}, neither 0 nor 1")
        return reply == "1"

    async def _reason(self) -> str:
        errors = await self._errors(talk=True)
        return f": {', '.join(errors)}" if errors else ""

    async def _errors(self, *, talk: bool = False) -> tuple[str, ...]:
        """Read the error word; bits about our talk are cleared if nothing else is set."""
        reply = await self._ask("err")
        if _WORD.fullmatch(reply) is None:
            raise self._distrusted(f"err is {reply[:80]!r}, no hexadecimal number of 32 bits")
        word = int(reply, 16)
        if word and not word & ~TALK_ERRORS:
            await self._converse("errclr")
        shown = word if talk else word & ~TALK_ERRORS
        return tuple(
            ERRORS.get(bit, f"error bit {bit}")
            for bit in range(shown.bit_length())
            if shown >> bit & 1
        )

    async def _ask_float(self, command: str) -> float:
        reply = await self._ask(command)
        try:
            value = float(reply)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._distrusted(f"{command!r} answered {reply[:80]!r}, no number")
        return value

    async def _ask(self, command: str) -> str:
        lines = await self._converse(command)
        if len(lines) != 1:
            raise self._distrusted(f"{command!r} answered {len(lines)} lines: {lines!r:.120}")
        return lines[0]

    def _distrusted(self, what: str) -> BadReply:
        """Make the error of a reply that makes no sense; the next exchange finds its step."""
        self._in_step = False
        return BadReply(f"{MODEL}: {what}")

    async def _converse(self, command: str) -> list[str]:
        """Send one command and return the lines between its echo and the prompt."""
        async with self._lock:
            if not self._in_step:
                await self._recover()
            self._in_step = False
            lines = await self._exchange(command)
            self._in_step = True
            return lines

    async def _exchange(self, command: str) -> list[str]:
        """Send, and wait for the answer whose echo is ours; any other is stale."""
        with trio.move_on_after(REPLY_TIMEOUT_S):
            await self._transport.send(command.encode("ascii") + b"\r\n")
            while True:
                answer = await self._reader.until(PROMPT, limit_bytes=ANSWER_LIMIT_BYTES)
                echo, *lines = _lines(answer)
                if echo == command:
                    return lines
        raise NoReply(f"{MODEL}: {command!r} not answered within {REPLY_TIMEOUT_S:g} s")

    async def _recover(self) -> None:
        """Find the step again: whatever was asked before has been answered, or never will be.

        Two commands that differ are asked: what was cut can be one of them at most, so the answer
        to the other is fresh, and so is everything after it.
        """
        await self._reader.drain(QUIET_S)
        await self._transport.send(b"\r\n")  # ends what a cut command left behind
        await self._reader.drain(QUIET_S)
        for marker in ("version", "model"):
            await self._exchange(marker)


def _lines(answer: bytes) -> list[str]:
    """Split an answer into its lines, the echo first; at least one, perhaps empty."""
    text = answer.replace(b"\0", b"").decode("ascii", "replace")
    lines = [line.strip() for line in text.split("\n")]
    return [line for line in lines if line] or [""]
