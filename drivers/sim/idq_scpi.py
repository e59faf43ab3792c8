"""The command language of the ID900 and ID1000: a tree of settings, one reply to each message.

After the "Time Controller Series User Manual", p. 77: case does not matter, a keyword is written
short (its capitals) or long, a number behind it is the channel or block, ``;`` goes on in the
subtree of the command before and ``;:`` from the root. A message with several commands gets one
line for each query. What the device says to a mistake is not documented: here a line that begins
with "ERROR".
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TypeVar

T = TypeVar("T")
Setter = Callable[[int, str], None]
Getter = Callable[[int], str]

MAX_MESSAGE_CHARS = 4096
VOLTS = {"": 1.0, "V": 1.0, "MV": 1e-3}
PICOSECONDS = {"": 1, "TB": 1, "KTB": 10**3, "MTB": 10**6, "GTB": 10**9, "TTB": 10**12}
"""The time base unit TB is 1 ps."""

NODE = re.compile(r"(\*?[A-Z]+)(\d*)\Z")
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d{1,3})?)\s*([A-Z]*)\Z")


class Mistake(Exception):
    """A command that cannot be obeyed, and why."""


class CommandTree:
    """Which headers there are, and what they do.

    A header is written as in the manual: ``INPUt#:THREshold``; every handler gets the number that
    stands for ``#``, 0 if there is none.
    """

    def __init__(self) -> None:
        self._setters: dict[str, tuple[Setter, range]] = {}
        self._getters: dict[str, tuple[Getter, range]] = {}

    def add(
        self,
        header: str,
        *,
        put: Setter | None = None,
        get: Getter | None = None,
        numbers: range = range(1),
    ) -> None:
        for spelling in spellings(header):
            if put is not None:
                self._setters[spelling] = (put, numbers)
            if get is not None:
                self._getters[spelling] = (get, numbers)

    def bind(
        self,
        header: str,
        blocks: Sequence[object],
        name: str,
        read: Callable[[str], T] | None,
        show: Callable[[T], str] | None,
    ) -> None:
        """Let ``header`` set, and its query say, the attribute ``name`` of a block.

        The first of ``blocks`` has number 1, or none if ``header`` has no ``#``.
        """

        def put(number: int, text: str) -> None:
            assert read is not None
            setattr(blocks[max(0, number - 1)], name, read(text))

        def get(number: int) -> str:
            assert show is not None
            return show(getattr(blocks[max(0, number - 1)], name))

        self.add(
            header,
            put=put if read else None,
            get=get if show else None,
            numbers=range(1, len(blocks) + 1) if "#" in header else range(1),
        )

    def answer(self, message: str) -> str:
        """Obey one message; a mistake ends it."""
        if len(message) > MAX_MESSAGE_CHARS:
            return f"ERROR: a message has at most {MAX_MESSAGE_CHARS} characters"
        lines: list[str] = []
        path = ""
        try:
            for command in message.upper().split(";"):
                words = command.split(None, 1)
                if words:
                    header = words[0][1:] if words[0].startswith(":") else path + words[0]
                    path = header[: header.rfind(":") + 1]
                    said = self._obey(header, words[1].strip() if len(words) > 1 else "")
                    lines += [] if said is None else [said]
        except Mistake as mistake:
            lines.append(f"ERROR: {mistake}")
        return "\n".join(lines)

    def _obey(self, header: str, argument: str) -> str | None:
        spelling, number = parsed(header.removesuffix("?"))
        if header.endswith("?"):
            getter, numbers = self._getters.get(spelling, (None, range(0)))
            if getter is None or number not in numbers:
                raise Mistake(f"no query {header}")
            return getter(number)
        setter, numbers = self._setters.get(spelling, (None, range(0)))
        if setter is None or number not in numbers:
            raise Mistake(f"no command {header}")
        setter(number, argument)
        return None


def spellings(header: str) -> list[str]:
    """Every way to write ``DEVIce:RESolution``, in capitals."""
    nodes = [
        {"".join(letter for letter in node if not letter.islower()), node.upper()}
        for node in header.split(":")
    ]
    return [":".join(chosen) for chosen in product(*nodes)]


def parsed(header: str) -> tuple[str, int]:
    """``INPU3:COUN`` is ``INPU#:COUN`` and 3; a header has one number at most."""
    nodes, number = [], 0
    for node in header.split(":"):
        match = NODE.match(node)
        if match is None:
            raise Mistake(f"no header {header}")
        if match[2]:
            number = int(match[2][:6])
        nodes.append(match[1] + ("#" if match[2] else ""))
    return ":".join(nodes), number


def quantity(text: str, units: Mapping[str, float], *, low: float, high: float) -> float:
    """A number with one of ``units`` behind it, within limits."""
    match = NUMBER.match(text)
    if match is None or match[2] not in units:
        raise Mistake(f"{text!r} is no number in {', '.join(filter(None, units)) or 'units of 1'}")
    value = float(match[1]) * units[match[2]]
    if not low <= value <= high:
        raise Mistake(f"{text} is outside {low:g}..{high:g}")
    return value


def whole(text: str, units: Mapping[str, float], *, low: int, high: int) -> int:
    return round(quantity(text, units, low=low, high=high))


def keyword(*choices: str) -> Callable[[str], str]:
    """A reader of keywords: short, long or anything between; no text is the first of ``choices``.

    ``choices`` are written as in the manual; the long form comes back, in capitals.
    """

    def read(text: str) -> str:
        for choice in choices:
            short = "".join(letter for letter in choice if not letter.islower())
            if not text or (text.startswith(short) and choice.upper().startswith(text)):
                return choice.upper()
        raise Mistake(f"{text!r} is none of {', '.join(choices)}")

    return read


def on(text: str) -> bool:
    return keyword("ON", "OFF")(text) == "ON"


def on_off(state: object) -> str:
    return "ON" if state else "OFF"
