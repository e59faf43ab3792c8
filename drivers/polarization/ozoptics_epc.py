"""OZ Optics EPC-400 (EPC04) polarisation controller: four fibre squeezers, text over serial.

Sources: QuTech's QMI, epc_driver.py and its recorded tests; pyLabLib, OZOptics/base.py. A command
ends with CR LF. The answer is an echo (on some units), one line, and ``Done``, or it ends with
``Error!``. No command for an identity is known: the form of the answers has to do.

Settings are never written to the flash memory (command SAVE): it wears out, and after a power cut
the feedback has to search anyway.
"""

import re
from collections.abc import Sequence

import trio

from drivers.errors import BadReply, NoReply, Refused
from drivers.identity import Identity
from drivers.polarization import PolarizationStatus
from drivers.transport import Reader, Transport

MODEL = "EPC"
BAUD = 9600
REPLY_TIMEOUT_S = 1.0
QUIET_S = 0.3
LINE_LIMIT_BYTES = 4096
N_CHANNELS = 4
LIMIT_MV = 5000

_MV = r"([+-]?\d{1,5})(?!\d)"
_VOLTAGES = re.compile(r"Voltage\(mV\):" + rf"\s*CH(\d)\s*{_MV}" * N_CHANNELS)
_MODE = re.compile(r"Work Mode:\s*(DC|AC)\b.*")


class OzOpticsEpc:
    """Driver of one EPC on a transport that it does not own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._reader = Reader(transport, name=MODEL)
        self._lock = trio.Lock()
        self._in_step = False

    async def identity(self) -> Identity:
        """Whoever answers as an EPC does is one; it has no serial number to tell.

        Raises
        ------
        BadReply
            If another device answers; the message has its words.
        """
        await self._voltages_mv()
        return Identity(model=MODEL, serial="", firmware="")

    async def set_voltage_mv(self, channel: int, voltage_mv: int) -> None:
        _require_channel(channel)
        _require_range(channel, voltage_mv)
        await self._set_voltage_mv(channel, voltage_mv)

    async def set_voltages_mv(self, voltages_mv: Sequence[int]) -> None:
        if len(voltages_mv) != N_CHANNELS:
            raise ValueError(f"{len(voltages_mv)} voltages for the {N_CHANNELS} channels of an EPC")
        for channel, voltage_mv in enumerate(voltages_mv, start=1):
            _require_range(channel, voltage_mv)
        for channel, voltage_mv in enumerate(voltages_mv, start=1):
            await self._set_voltage_mv(channel, voltage_mv)

    async def set_scrambling(self, on: bool) -> None:
        """Stir at the frequencies and with the waveform that the operator left in the unit."""
        mode = "AC" if on else "DC"
        await self._ask(f"M{mode}", re.compile(rf"Set To {mode} Mode"))
        if await self._scrambling() is not on:
            raise Refused(f"{MODEL}: told M{mode}, it {'holds' if on else 'scrambles'} on")

    async def status(self) -> PolarizationStatus:
        return PolarizationStatus(
            scrambling=await self._scrambling(),
            voltages_mv=await self._voltages_mv(),
            lowest_mv=-LIMIT_MV,
            highest_mv=LIMIT_MV,
        )

    async def _set_voltage_mv(self, channel: int, voltage_mv: int) -> None:
        taken = await self._ask(
            f"V{channel},{voltage_mv}",
            re.compile(rf"Set CH{channel} DC Voltage at:\s*{_MV}\s*mV"),
        )
        if int(taken[1]) != voltage_mv:
            raise Refused(
                f"{MODEL}: asked for {voltage_mv} mV on channel {channel}, it took {taken[1]} mV"
            )

    async def _voltages_mv(self) -> tuple[int, ...]:
        match = await self._ask("V?", _VOLTAGES)
        channels, voltages_mv = match.groups()[::2], match.groups()[1::2]
        if channels != ("1", "2", "3", "4"):
            raise self._distrusted(f"'V?' answered {match[0]!r}, not channels 1 to 4")
        return tuple(int(voltage_mv) for voltage_mv in voltages_mv)

    async def _scrambling(self) -> bool:
        return (await self._ask("M?", _MODE))[1] == "AC"

    def _distrusted(self, what: str) -> BadReply:
        """Make the error of a reply that makes no sense; the next exchange finds its step."""
        self._in_step = False
        return BadReply(f"{MODEL}: {what}")

    async def _ask(self, command: str, form: re.Pattern[str]) -> re.Match[str]:
        """Send one command, and return its answer's one line, which must have this form."""
        async with self._lock:
            if not self._in_step:
                await self._recover()
            self._in_step = False
            lines = await self._exchange(command)
            if lines[-1].endswith("Error!"):
                self._in_step = True
                raise Refused(f"{MODEL}: {command!r} refused: {' '.join(lines)[:120]}")
            match = form.fullmatch(lines[0]) if len(lines) == 2 else None
            if match is None:
                raise BadReply(f"{MODEL}: {command!r} answered {lines!r:.120}")
            self._in_step = True
            return match

    async def _recover(self) -> None:
        """Find the step again: whatever was asked before has been answered, or never will be.

        Two queries that differ are asked: what was cut can be one of them at most, so the answer
        to the other is fresh, and so is everything after it.
        """
        await self._reader.drain(QUIET_S)
        await self._transport.send(b"\r\n")  # ends what a cut command left behind
        await self._reader.drain(QUIET_S)
        await self._exchange("M?", until=_MODE)
        await self._exchange("V?", until=_VOLTAGES)

    async def _exchange(self, command: str, *, until: re.Pattern[str] | None = None) -> list[str]:
        """Send, and return the lines of the answer, its last (Done or Error!) among them.

        With ``until``, answers without a line of that form are stale, and skipped.
        """
        heard: list[str] = []
        try:
            with trio.fail_after(REPLY_TIMEOUT_S):
                await self._transport.send(command.encode("ascii") + b"\r\n")
                while True:
                    answer = await self._answer(heard)
                    if answer[0] == command and len(answer) > 1:
                        answer = answer[1:]
                    if until is None or any(until.fullmatch(line) for line in answer):
                        return answer
        except trio.TooSlowError as error:
            within = f"{command!r} not answered within {REPLY_TIMEOUT_S:g} s"
            if heard:
                raise BadReply(
                    f"expected an {MODEL}, but {heard!r:.120} answers: {within}"
                ) from error
            raise NoReply(f"{MODEL}: {within}") from error

    async def _answer(self, heard: list[str]) -> list[str]:
        """Return the lines of one answer; they are noted in ``heard`` as they come."""
        lines: list[str] = []
        while not lines or not (lines[-1] == "Done" or lines[-1].endswith("Error!")):
            raw = await self._reader.until(b"\n", limit_bytes=LINE_LIMIT_BYTES)
            line = raw.decode("ascii", "replace").strip()
            if line:
                lines.append(line)
                heard.append(line)
        return lines


def _require_channel(channel: int) -> None:
    if not 1 <= channel <= N_CHANNELS:
        raise ValueError(f"channel {channel} of an EPC, which has 1 to {N_CHANNELS}")


def _require_range(channel: int, voltage_mv: int) -> None:
    if abs(voltage_mv) > LIMIT_MV:
        raise Refused(
            f"{MODEL}: {voltage_mv} mV on channel {channel} is out of -{LIMIT_MV} to {LIMIT_MV} mV"
        )
