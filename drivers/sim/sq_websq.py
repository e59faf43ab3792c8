"""The simulated Single Quantum Atlas driver (WebSQ): JSON on one port, lines of counts on another.

Messages and labels are those of the vendor's public client: bare objects to the box; from it
objects, several of them glued, then ETB. It tells of every change of a label, whoever made it, and
of the cryostat once a minute. Where nothing public says what it does, the comment says "not
documented". One client at a time.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from drivers.sim.json_stream import NoObject, ObjectStream
from drivers.sim.paced import PacedLine
from drivers.sim.sq_nanowires import LEFT_AT_SHARE, N_WIRES, Nanowires
from drivers.sim.sq_scan import Scan, Search

Object: TypeAlias = dict[str, object]

ETB = b"\x17"
BYTES_PER_S = 50_000.0  # chosen so that a long answer comes in several pieces
MAX_WAITING_BYTES = 1 << 20  # for a client that does not read; not documented, as are the next two
MAX_BIAS_UA, MAX_TRIGGER_MV = 90.9, 1000.0
MIN_PERIOD_MS, MAX_PERIOD_MS = 10, 60_000

MS, S = 1_000_000, 1_000_000_000
TEMPERATURE_EVERY_NS = 60 * S
MAX_TEMPERATURES = 200
SCAN_LABELS = ("IVScanStart", "IVScanEnd", "IVScanIncrement")


class Refused(Exception):
    """A message that is answered by an object with the label ``Error``."""


class WebSQ:
    """The box: settings, the counters of a period, a bias search and an I-V scan.

    ``advance`` never passes ``period_end_ns``, so that counts fall into their period.
    """

    def __init__(self, *, switching_ua: float, biased: bool, start_unix_s: float) -> None:
        self.wires = Nanowires(switching_ua=switching_ua, biased=biased)
        self._start_unix_s = start_unix_s
        self._now_ns = 0
        self._period_ms = 100
        self._period_start_ns = 0
        self._counts = [0] * N_WIRES
        self._search = Search()
        self._scan = Scan()
        self._temperatures: list[tuple[str, float, float]] = []
        self._next_temperature_ns = 0
        self._known_voltages = self.wires.voltages_mv
        self._stream = ObjectStream()
        self._line = PacedLine(BYTES_PER_S)
        self._has_client = False

    @property
    def period_end_ns(self) -> int:
        """When the present measurement period ends."""
        return self._period_start_ns + self._period_ms * MS

    @property
    def faults(self) -> dict[str, Callable[[bool], None]]:
        """What can become of its first wire, its bias and its cryostat: true begins it.

        A wire that has latched stays so until its host frees it, and so does a bias that somebody
        took away.
        """
        wires = self.wires

        def latch(begins: bool) -> None:
            wires.latched[0] |= begins

        def deaf(begins: bool) -> None:
            wires.deaf[0] = begins

        def disabled(begins: bool) -> None:
            if begins:
                self._enable(False)

        def warm(begins: bool) -> None:
            wires.cryostat_on = not begins

        return {"latch": latch, "deaf": deaf, "disabled": disabled, "warm": warm}

    def connected(self) -> None:
        self._stream.clear()
        self._line.clear()
        self._has_client = True

    def disconnected(self) -> None:
        self._line.clear()
        self._has_client = False

    def receive(self, data: bytes) -> bytes:
        """Carry out what ``data`` completes; the answers come from :meth:`advance`."""
        for found in self._stream.feed(data):
            try:
                if isinstance(found, NoObject):
                    raise Refused(str(found))
                self._take(found)
            except Refused as refused:
                self._tell({"label": "Error", "value": str(refused)})
        return b""

    def count(self, counts: Sequence[int]) -> None:
        """Pulses of the four wires since the last :meth:`advance`."""
        counted = self.wires.counted
        for wire, n in enumerate(counts):
            self._counts[wire] += n if counted[wire] else 0
        self._search.count(counts)

    def advance(self, now_ns: int) -> tuple[bytes, bytes]:
        """Go on to ``now_ns``; what the box says on its control port, and on that of the counts."""
        assert now_ns <= self.period_end_ns, "counts of two periods would mix"
        dt_s, self._now_ns = (now_ns - self._now_ns) * 1e-9, now_ns
        self.wires.advance(dt_s)
        counts = b""
        if now_ns == self.period_end_ns:
            counts = self._end_period()
        if self._search.is_over(dt_s):
            self._end_search()
        if now_ns >= self._next_temperature_ns:
            self._take_temperature()
        self._tell_voltages()
        return self._line.advance(dt_s), counts

    def skip_to(self, now_ns: int) -> None:
        """Pass over a stall: no lines, no counts, and a new period."""
        self.wires.advance((now_ns - self._now_ns) * 1e-9)
        self._now_ns = self._period_start_ns = now_ns
        self._counts = [0] * N_WIRES

    def _tell(self, *objects: Object) -> None:
        """Say some objects, glued together."""
        if self._has_client and self._line.waiting_bytes < MAX_WAITING_BYTES:
            said = "".join(json.dumps(one, separators=(",", ":")) for one in objects)
            self._line.put(said.encode() + ETB)

    def _tell_labels(self, *labels: str) -> None:
        values = self._labels()
        self._tell(*({"label": label, "value": values[label][0]} for label in labels))

    def _tell_voltages(self) -> None:
        if self.wires.voltages_mv != self._known_voltages:
            self._known_voltages = self.wires.voltages_mv
            self._tell_labels("BiasVoltage")

    def _labels(self) -> dict[str, tuple[object, Object]]:
        """Every label with its value and its properties, whose names are not documented."""
        ua: Object = {"unit": "uA", "min": -MAX_BIAS_UA, "max": MAX_BIAS_UA}
        period: Object = {"unit": "ms", "min": MIN_PERIOD_MS, "max": MAX_PERIOD_MS}
        return {
            "NumberOfDetectors": (N_WIRES, {}),
            "InptMeasurementPeriod": (self._period_ms, period),
            "BiasCurrent": (self.wires.bias_ua, ua),
            "TriggerLevel": (self.wires.trigger_mv, {"unit": "mV", "min": 0, "max": 1000}),
            "BiasVoltage": (self.wires.voltages_mv, {"unit": "mV"}),
            "DetectorEnable": (self.wires.enabled, {}),
            "StartAutoIV": (self._search.is_running, {}),
            "BiasCurrentAutoIV": (self._search.found_ua, ua),
            "IVScanStart": (self._scan.start_ua, ua),
            "IVScanEnd": (self._scan.end_ua, ua),
            "IVScanIncrement": (self._scan.increment_ua, ua),
            "IVScanEnable": (self._scan.is_running, {}),
            "iv_scan_history": (self._scan.voltages, {}),
            "ic_scan_history": (self._scan.counts, {}),
        }

    def _take(self, message: Object) -> None:
        request, command, label = (message.get(key) for key in ("request", "command", "label"))
        value = message.get("value")
        if isinstance(request, str):
            self._answer(request)
        elif isinstance(command, str):
            self._command(command, value)
        elif isinstance(label, str) and label in SCAN_LABELS:
            if self._scan.is_running:
                raise Refused("an I-V scan is running")
            self._scan.set(label, number(value, -MAX_BIAS_UA, MAX_BIAS_UA))
            self._tell_labels(label)
        else:
            raise Refused(f"no request, command or label to set in {sorted(message)[:10]}")

    def _answer(self, request: str) -> None:
        if request == "labelProps":
            known: list[Object] = [
                {"label": label, "value": {"value": value, **properties}}
                for label, (value, properties) in self._labels().items()
            ]
            self._tell(*known)
        elif request == "IVHistory":
            self._tell_labels("iv_scan_history", "ic_scan_history")
        elif request == "TemperatureHistory":
            self._tell_temperatures()
        elif request in self._labels():
            self._tell_labels(request)
        else:
            raise Refused(f"unknown request {request[:40]!r}")

    def _command(self, command: str, value: object) -> None:
        commands: dict[str, Callable[[object], None]] = {
            "SetMeasurementPeriod": self._set_period,
            "SetAllBiasCurrents": self._set_bias,
            "SetAllTriggerLevels": self._set_trigger,
            "DetectorEnable": self._enable,
            "DarkCountsAutoIV": self._set_target,
            "AutoCaliBiasCurrents": self._switch_search,
            "IVScanEnable": self._switch_scan,
        }
        if command not in commands:
            raise Refused(f"unknown command {command[:40]!r}")
        commands[command](value)

    def _set_period(self, value: object) -> None:
        self._period_ms = round(number(value, MIN_PERIOD_MS, MAX_PERIOD_MS))
        self._period_start_ns = self._now_ns
        self._counts = [0] * N_WIRES
        self._tell_labels("InptMeasurementPeriod")

    def _set_bias(self, value: object) -> None:
        self.wires.bias_ua = numbers(value, -MAX_BIAS_UA, MAX_BIAS_UA)
        self.wires.settle()
        self._known_voltages = self.wires.voltages_mv
        self._tell_labels("BiasCurrent", "BiasVoltage")

    def _set_trigger(self, value: object) -> None:
        self.wires.trigger_mv = numbers(value, 0.0, MAX_TRIGGER_MV)
        self._tell_labels("TriggerLevel")

    def _enable(self, value: object) -> None:
        self.wires.enabled = switch(value)
        self.wires.settle()
        self._known_voltages = self.wires.voltages_mv
        self._tell_labels("DetectorEnable", "BiasVoltage")

    def _set_target(self, value: object) -> None:
        self._search.target_hz = numbers(value, 1.0, 1e7)

    def _switch_search(self, value: object) -> None:
        if not switch(value):
            self._search.stop()
            self.wires.hold(None)
        elif self._scan.is_running:
            raise Refused("an I-V scan is running")
        else:
            self._search.start()
            self.wires.hold(LEFT_AT_SHARE * self.wires.switching_ua)
        self._tell_labels("StartAutoIV")

    def _end_search(self) -> None:
        self.wires.bias_ua = list(self._search.end(self.wires.switching_ua))
        self.wires.hold(None)
        self._tell_labels("StartAutoIV", "BiasCurrentAutoIV", "BiasCurrent")

    def _switch_scan(self, value: object) -> None:
        if not switch(value):
            self._scan.stop()
            self.wires.hold(None)
        elif self._search.is_running:
            raise Refused("a bias search is running")
        elif not self._scan.start():
            raise Refused("an I-V scan needs start below end and 2 to 1000 steps")
        else:
            self.wires.hold(self._scan.bias_ua)
            self._set_period(self._period_ms)
        self._tell_labels("IVScanEnable")

    def _end_period(self) -> bytes:
        stamp = f"{self._unix_s():.3f}"
        line = ",".join([stamp, *(f"{n:.1f}" for n in self._counts)]) + "\n"
        if self._scan.is_running:
            self._scan.record(self.wires.voltages_mv, self._counts)
            self.wires.hold(self._scan.bias_ua)
            if not self._scan.is_running:
                self._tell_labels("IVScanEnable")
        self._counts = [0] * N_WIRES
        self._period_start_ns = self._now_ns
        return line.encode()

    def _unix_s(self) -> float:
        return self._start_unix_s + self._now_ns * 1e-9

    def _take_temperature(self) -> None:
        self._next_temperature_ns = self._now_ns + TEMPERATURE_EVERY_NS
        when = datetime.fromtimestamp(self._unix_s(), UTC).strftime("%d-%b-%y %H:%M:%S.%f")[:-3]
        self._temperatures.append((when, self.wires.stage_k, self.wires.shield_k))
        del self._temperatures[:-MAX_TEMPERATURES]
        self._tell_temperatures()

    def _tell_temperatures(self) -> None:
        n = len(self._temperatures)
        history: Object = {
            "x": [when for when, _, _ in self._temperatures],
            "T": [round(stage_k, 3) for _, stage_k, _ in self._temperatures],
            "T2": [round(shield_k, 2) for _, _, shield_k in self._temperatures],
            "V_avrg": [0.0] * n,
            "BoardTemp1": [35.0] * n,
            "BoardTemp2": [35.0] * n,
        }
        self._tell({"label": "temperature_long_memory", "value": history})


def number(value: object, lowest: float, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("a number is missing")
    if not lowest <= value <= highest:  # nor is NaN, which the decoder lets through
        raise Refused(f"a value is outside {lowest}..{highest}")
    return float(value)


def numbers(value: object, lowest: float, highest: float) -> list[float]:
    if not isinstance(value, list) or len(value) != N_WIRES:
        raise Refused(f"a list of {N_WIRES} numbers is missing")
    return [number(one, lowest, highest) for one in value]


def switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refused("true or false is missing")
    return value
