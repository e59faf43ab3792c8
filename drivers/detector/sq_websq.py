"""Single Quantum WebSQ (Atlas): bias and counters of nanowire detectors, JSON over TCP.

Source: the vendor's own client, WebSQControl.py (2020). One port takes commands and tells labels,
asked or not; another sends a line of counts after each period. Nothing says who answers: the label
NumberOfDetectors is the handshake. A box whose counts break off still takes commands, and one that
takes none still counts: each says so where it is asked.
"""

import math
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

import trio

from drivers.detector import DetectorCounts, DetectorStatus
from drivers.detector.sq_json import Json
from drivers.detector.sq_labels import News
from drivers.detector.sq_talk import POLL_S, Talk
from drivers.detector.sq_values import (
    MODEL,
    as_bool,
    as_number,
    as_numbers,
    read_counts,
    require_bool,
    require_count,
    require_number,
    require_numbers,
)
from drivers.errors import BadReply, InstrumentError, NoReply
from drivers.identity import Identity
from drivers.transport import LINE_LIMIT_BYTES, Reader, Transport

CONTROL_PORT = 12000
COUNTS_PORT = 12345
COUNTS_MARGIN_S = 2.0
UNSURE_LINES = 2
"""After another period was told, one line may still be on its way, and the next be of both."""
MIN_PERIOD_MS = 10
BIAS_STEP_UA = 0.1
TRIGGER_STEP_MV = 1.0
"""The steps of its converters are not public; further than this from what was asked is refused."""
SEARCH_START_S = 1.0
SEARCH_TIMEOUT_S = 300.0

COUNT = "NumberOfDetectors"
PERIOD = "InptMeasurementPeriod"
BIAS = "BiasCurrent"
TRIGGER = "TriggerLevel"
ENABLE = "DetectorEnable"
VOLTAGE = "BiasVoltage"
TEMPERATURES = "temperature_long_memory"


class SqWebSq:
    """Driver of one WebSQ on two transports that it does not own; `listen` runs beside it."""

    def __init__(self, control: Transport, counts: Transport) -> None:
        self._talk = Talk(control)
        self._counts = counts
        self._lines = News()
        self._last_line = b""
        self._n_lines = 0
        self._n_unsure = 0
        """Lines up to this number may be of another period than the label says."""

    async def listen(self) -> None:
        """Take what the box says, until cancelled; a broken connection is told to who asks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk.listen, self._on_change)
            nursery.start_soon(self._listen_to_counts)

    async def identity(self) -> Identity:
        """Whoever tells a number of detectors is a WebSQ; it has no serial number to tell.

        Raises
        ------
        BadReply
            If another device answers; the message has its words.
        """
        (told,) = await self._talk.fresh(COUNT)
        require_count(told, COUNT)
        return Identity(model=MODEL, serial="", firmware="")

    async def set_bias_ua(self, bias_ua: Sequence[float]) -> None:
        wanted = await self._checked(bias_ua, "bias current")
        await self._set_all("SetAllBiasCurrents", BIAS, wanted, BIAS_STEP_UA)

    async def set_trigger_mv(self, trigger_mv: Sequence[float]) -> None:
        wanted = await self._checked(trigger_mv, "trigger level")
        await self._set_all("SetAllTriggerLevels", TRIGGER, wanted, TRIGGER_STEP_MV)

    async def set_enabled(self, on: bool) -> None:
        await self._talk.set("DetectorEnable", ENABLE, on, lambda told: as_bool(told) is on)

    async def set_period_ms(self, period_ms: int) -> None:
        if period_ms < MIN_PERIOD_MS:
            raise ValueError(f"a period of {period_ms} ms, under {MIN_PERIOD_MS} ms")
        await self._talk.set(
            "SetMeasurementPeriod", PERIOD, period_ms, lambda told: as_number(told) == period_ms
        )

    async def counts(self) -> DetectorCounts:
        n_detectors = await self._n_detectors()
        period_ms = await self._period_ms()
        n_before = self._n_lines
        patience_s = (1 + UNSURE_LINES) * period_ms / 1000 + COUNTS_MARGIN_S
        try:
            with trio.fail_after(patience_s):
                while self._n_lines <= max(n_before, self._n_unsure):
                    await self._lines.wait()
        except trio.TooSlowError as error:
            raise NoReply(f"{MODEL}: no counts within {patience_s:g} s") from error
        return read_counts(
            self._last_line, n_detectors=n_detectors, period_ms=await self._period_ms()
        )

    async def temperature_k(self) -> float:
        """Return the last entry of the cold stage in the box's history."""
        (told,) = await self._talk.fresh(TEMPERATURES, request="TemperatureHistory")
        history = told.get("T") if isinstance(told, dict) else None
        if not isinstance(history, list) or not history:
            raise BadReply(f"{MODEL}: no temperatures in {told!r:.80}")
        return require_number(history[-1], TEMPERATURES)

    async def status(self) -> DetectorStatus:
        count, on, bias, trigger, period = await self._talk.fresh(
            COUNT, ENABLE, BIAS, TRIGGER, PERIOD
        )
        (volts,) = await self._talk.fresh(VOLTAGE, request=VOLTAGE)
        n_detectors = require_count(count, COUNT)
        return DetectorStatus(
            enabled=require_bool(on, ENABLE),
            bias_ua=require_numbers(bias, n_detectors, BIAS),
            bias_voltage=require_numbers(volts, n_detectors, VOLTAGE),
            trigger_mv=require_numbers(trigger, n_detectors, TRIGGER),
            period_ms=require_count(period, PERIOD),
            errors=self._talk.labels.take_errors(),
        )

    async def find_bias_ua(self, dark_counts: Sequence[float]) -> tuple[float, ...]:
        """Have the box search the bias currents that give ``dark_counts``; keep it dark meanwhile.

        Raises
        ------
        NoReply
            If it still searches after `SEARCH_TIMEOUT_S`. Cut, by that or by a cancel, the search
            is called off.
        """
        wanted = await self._checked(dark_counts, "dark count")
        await self._talk.send({"command": "DarkCountsAutoIV", "value": wanted})
        await self._talk.send({"command": "AutoCaliBiasCurrents", "value": True})
        try:
            with trio.fail_after(SEARCH_TIMEOUT_S):
                await self._search_ended()
        except trio.TooSlowError as error:
            raise NoReply(f"{MODEL}: searching for over {SEARCH_TIMEOUT_S:g} s") from error
        (found,) = await self._talk.fresh("BiasCurrentAutoIV")
        return require_numbers(found, len(wanted), "BiasCurrentAutoIV")

    async def _search_ended(self) -> None:
        """Wait until the search, which takes a moment to begin, has ended."""
        ended = False
        start_s = trio.current_time()
        try:
            while not ended:
                await trio.sleep(POLL_S)
                (searching,) = await self._talk.fresh("StartAutoIV")
                begun = trio.current_time() - start_s >= SEARCH_START_S
                ended = begun and as_bool(searching) is False
        finally:
            if not ended:
                with trio.CancelScope(shield=True):  # a send has its own bound
                    await self._talk.send({"command": "AutoCaliBiasCurrents", "value": False})

    async def _checked(self, values: Sequence[float], what: str) -> list[float]:
        n_detectors = await self._n_detectors()
        if len(values) != n_detectors:
            raise ValueError(f"{len(values)} {what}s for {n_detectors} detectors")
        for value in values:
            if not math.isfinite(value):
                raise ValueError(f"a {what} of {value}")
        return [float(value) for value in values]

    async def _set_all(self, command: str, label: str, wanted: list[float], step: float) -> None:
        def reached(told: Json) -> bool:
            numbers = as_numbers(told, len(wanted))
            return numbers is not None and all(
                abs(one - other) <= step for one, other in zip(numbers, wanted, strict=True)
            )

        await self._talk.set(command, label, wanted, reached)

    async def _n_detectors(self) -> int:
        return require_count(await self._known(COUNT), COUNT)

    async def _period_ms(self) -> int:
        return require_count(await self._known(PERIOD), PERIOD)

    async def _known(self, label: str) -> Json:
        """Return what was told last, since the box tells every change unasked; else ask."""
        told = self._talk.labels.value(label)
        return (await self._talk.fresh(label))[0] if told is None else told

    def _on_change(self, label: str) -> None:
        if label == PERIOD:
            self._n_unsure = self._n_lines + UNSURE_LINES

    async def _listen_to_counts(self) -> None:
        reader = Reader(self._counts, name=f"{MODEL} counts")
        try:
            while True:
                self._last_line = await reader.until(b"\n", limit_bytes=LINE_LIMIT_BYTES)
                self._n_lines += 1
                self._lines.tell()
        except InstrumentError as error:
            self._lines.fail(error)


def parse_resource(resource: str) -> tuple[str, str]:
    """Return the resources of the two ports from ``tcp://HOST[:PORT][?counts=PORT]``.

    Raises
    ------
    ValueError
        If it is of another form, or has an unknown option.
    """
    parts = urlsplit(resource)
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    counts_port = options.pop("counts", str(COUNTS_PORT))
    strange = parts.scheme != "tcp" or not parts.hostname or parts.path or parts.fragment
    if strange or options or not counts_port.isdecimal():
        raise ValueError(f"resource {resource!r} is not tcp://HOST[:PORT][?counts=PORT]")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (f"tcp://{host}:{parts.port or CONTROL_PORT}", f"tcp://{host}:{counts_port}")
