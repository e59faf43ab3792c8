"""What every SCPI instrument does alike: messages, headers, IEEE 488.2 status, the error queue.

After IEEE 488.2-1992 and SCPI-1999 volume 1: a message ends with LF, its units stand between
semicolons, a header without a leading colon goes on from the path of the unit before.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from itertools import product

Handler = Callable[[str], str | None]

MAX_MESSAGE_BYTES = 4096
MAX_ERRORS = 30
POWER_ON, OPERATION_COMPLETE = 1 << 7, 1 << 0
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d{1,3})?)\s*([A-Z]*)\Z")


class ScpiError(Exception):
    """One entry of the error queue."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text

    @property
    def event(self) -> int:
        """Its bit in the standard event status register (SCPI-1999 vol. 2, 21.8)."""
        return {1: 32, 2: 16, 3: 8, 4: 4}[-self.code // 100]


def number(text: str, units: Mapping[str, float]) -> float:
    """A number with one of ``units`` behind it, in the base unit; '' is the unit if none stands."""
    if not text:
        raise ScpiError(-109, "Missing parameter")
    if (match := NUMBER.match(text)) is None:
        raise ScpiError(-104, "Data type error")
    if match[2] not in units:
        raise ScpiError(-131, "Invalid suffix")
    return float(match[1]) * units[match[2]]


def choice(text: str, options: Mapping[str, bool]) -> bool:
    if not text:
        raise ScpiError(-109, "Missing parameter")
    if text not in options:
        raise ScpiError(-141, "Invalid character data")
    return options[text]


def value_of(
    text: str, units: Mapping[str, float], named: Mapping[str, float], low: float, high: float
) -> float:
    """A named or numeric argument between ``low`` and ``high``, within a rounding of them."""
    value = named[text] if text in named else number(text, units)
    slack = 1e-9 * max(abs(low), abs(high))
    if not low - slack <= value <= high + slack:
        raise ScpiError(-222, "Data out of range")
    return min(max(value, low), high)


def answer(
    text: str, value: float, named: Mapping[str, float], written: Callable[[float], str]
) -> str:
    if text and text not in named:
        raise ScpiError(-141, "Invalid character data")
    return written(named[text] if text else value)


def spellings(header: str) -> list[str]:
    """Every way to write ``OUTPut[:STATe]:APOWeron``: long or short, optional nodes or not."""
    nodes: list[list[str]] = []
    for optional, keyword in re.findall(r"(\[)?:?([*A-Za-z]+)\]?", header):
        short = "".join(letter for letter in keyword if not letter.islower())
        nodes.append([":" + short, ":" + keyword.upper(), *([""] if optional else [])])
    return ["".join(chosen).lstrip(":") for chosen in product(*nodes)]


class StatusNode:
    """Condition, event and enable of OPERation or QUEStionable, with the transition filters."""

    def __init__(self) -> None:
        self.condition = self.event = self.enable = 0
        self.rising, self.falling = 0x7FFF, 0

    def update(self, condition: int) -> None:
        rose, fell = condition & ~self.condition, self.condition & ~condition
        self.event |= (rose & self.rising) | (fell & self.falling)
        self.condition = condition

    def take_event(self) -> int:
        event, self.event = self.event, 0
        return event

    @property
    def summary(self) -> bool:
        return bool(self.event & self.enable)


class Scpi:
    """The language; the instrument gives its own commands, and says when it is busy."""

    def __init__(
        self,
        *,
        identity: str,
        reset: Callable[[], None],
        busy: Callable[[], bool],
        no_error: str = '0,"No error"',
    ) -> None:
        self.operation, self.questionable = StatusNode(), StatusNode()
        self._busy = busy
        self._no_error = no_error
        self._errors: deque[ScpiError] = deque()
        self._events, self._event_enable, self._service_enable = POWER_ON, 0, 0
        self._completing = False
        self._handlers: dict[str, Handler] = {}
        self._buffer = bytearray()
        self._overlong = False
        self._messages: deque[deque[str]] = deque()
        self._replies: list[str] = []
        self._path = ""
        self._add_common(identity, reset)
        self._add_node("STATus:OPERation", self.operation)
        self._add_node("STATus:QUEStionable", self.questionable)

    def add(self, header: str, handler: Handler) -> None:
        """Serve ``header`` (a query if it ends with '?') by ``handler``, which gets the rest."""
        query = "?" if header.endswith("?") else ""
        for spelling in spellings(header.rstrip("?")):
            self._handlers[spelling + query] = handler

    def receive(self, data: bytes) -> bytes:
        """Take bytes in any chunks, answer what can be answered at once."""
        for byte in data:
            if byte != ord("\n"):
                self._buffer.append(byte)
                if len(self._buffer) > MAX_MESSAGE_BYTES:
                    self._overlong = True
                    self._buffer.clear()
                continue
            text = self._buffer.decode("ascii", "replace")
            self._buffer.clear()
            if self._overlong:
                self._overlong = False
                self._report(ScpiError(-223, "Too much data"))
            else:
                self._messages.append(deque(text.split(";")))
        return self.go_on()

    def go_on(self) -> bytes:
        """Execute what waits, up to an ``*OPC?`` or ``*WAI`` that must wait longer."""
        if self._completing and not self._busy():
            self._completing = False
            self._events |= OPERATION_COMPLETE
        said = bytearray()
        while self._messages:
            units = self._messages[0]
            while units:
                if units[0].strip().upper() in ("*OPC?", "*WAI") and self._busy():
                    return bytes(said)
                self._execute(units.popleft())
            self._messages.popleft()
            self._path = ""
            if self._replies:
                said += ";".join(self._replies).encode("ascii") + b"\n"
                self._replies.clear()
        return bytes(said)

    def clear_input(self) -> None:
        """Device clear: forget what was received and not executed."""
        self._buffer.clear()
        self._overlong = False
        self._messages.clear()
        self._replies.clear()
        self._path = ""

    def _execute(self, unit: str) -> None:
        words = unit.split(None, 1)
        if not words:
            return
        header, argument = words[0].upper(), words[1].strip().upper() if len(words) > 1 else ""
        if not header.startswith("*"):
            header = header[1:] if header.startswith(":") else self._path + header
            self._path = header[: header.rfind(":") + 1]
        try:
            handler = self._handlers.get(header)
            if handler is None:
                raise ScpiError(-113, "Undefined header")
            reply = handler(argument)
        except ScpiError as error:
            self._report(error)
        else:
            if reply is not None:
                self._replies.append(reply)

    def _report(self, error: ScpiError) -> None:
        self._events |= error.event
        if len(self._errors) < MAX_ERRORS:
            self._errors.append(error)
        else:
            self._errors[-1] = ScpiError(-350, "Queue overflow")
            self._events |= self._errors[-1].event

    def _next_error(self, _: str) -> str:
        if not self._errors:
            return self._no_error
        error = self._errors.popleft()
        return f'{error.code},"{error.text}"'

    def _add_common(self, identity: str, reset: Callable[[], None]) -> None:
        self.add("*IDN?", lambda _: identity)
        self.add("*RST", lambda _: reset())
        self.add("*CLS", self._clear)
        self.add("*ESR?", lambda _: str(self._take_events()))
        self.add("*ESE?", lambda _: str(self._event_enable))
        self.add("*ESE", lambda text: setattr(self, "_event_enable", byte_of(text)))
        self.add("*SRE?", lambda _: str(self._service_enable))
        self.add("*SRE", lambda text: setattr(self, "_service_enable", byte_of(text) & ~64))
        self.add("*STB?", lambda _: str(self._status_byte()))
        self.add("*OPC", lambda _: self._complete())
        self.add("*OPC?", lambda _: "1")
        self.add("*WAI", lambda _: None)
        self.add("*TST?", lambda _: "0")
        self.add("SYSTem:ERRor?", self._next_error)

    def _add_node(self, header: str, node: StatusNode) -> None:
        self.add(f"{header}:CONDition?", lambda _: f"{node.condition:+d}")
        self.add(f"{header}[:EVENt]?", lambda _: f"{node.take_event():+d}")
        self.add(f"{header}:ENABle?", lambda _: f"{node.enable:+d}")
        self.add(f"{header}:ENABle", lambda text: setattr(node, "enable", mask_of(text)))
        self.add(f"{header}:PTRansition?", lambda _: f"{node.rising:+d}")
        self.add(f"{header}:PTRansition", lambda text: setattr(node, "rising", mask_of(text)))
        self.add(f"{header}:NTRansition?", lambda _: f"{node.falling:+d}")
        self.add(f"{header}:NTRansition", lambda text: setattr(node, "falling", mask_of(text)))

    def _clear(self, _: str) -> None:
        self._errors.clear()
        self._events = self.operation.event = self.questionable.event = 0
        self._completing = False

    def _take_events(self) -> int:
        events, self._events = self._events, 0
        return events

    def _complete(self) -> None:
        """``*OPC``: bit 0 of the event register when the instrument has done what it does now."""
        if self._busy():
            self._completing = True
        else:
            self._events |= OPERATION_COMPLETE

    def _status_byte(self) -> int:
        byte = (
            self.questionable.summary << 3
            | bool(self._replies) << 4
            | bool(self._events & self._event_enable) << 5
            | self.operation.summary << 7
        )
        return byte | bool(byte & self._service_enable) << 6


def byte_of(text: str) -> int:
    return whole_of(text, 0xFF)


def mask_of(text: str) -> int:
    return whole_of(text, 0x7FFF)


def whole_of(text: str, highest: int) -> int:
    value = number(text, {"": 1.0})
    if not -0.5 <= value < highest + 0.5:
        raise ScpiError(-222, "Data out of range")
    return round(value)
