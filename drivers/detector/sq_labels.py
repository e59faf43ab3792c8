"""The labels of a WebSQ as last told, and waiting for the next time."""

from collections import deque
from dataclasses import dataclass

import trio

from drivers.detector.sq_json import Garbled, Json, JsonMessages, Update
from drivers.errors import BadReply, InstrumentError, NoReply

MAX_ERRORS = 16
HEARD_BYTES = 64


class News:
    """Wakes whoever waits, each time there is something new, or when there will be no more."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._failure: InstrumentError | None = None

    def tell(self) -> None:
        self._event.set()
        self._event = trio.Event()

    def fail(self, failure: InstrumentError) -> None:
        self._failure = failure
        self.tell()

    async def wait(self) -> None:
        """Return when there is something new.

        Raises
        ------
        InstrumentError
            What ended the news, of the same class and with the same words.
        """
        self.check()
        await self._event.wait()
        self.check()

    def check(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)


@dataclass(slots=True)
class _Label:
    value: Json = None
    n_told: int = 0


class Labels:
    """What the box has told; one task feeds it, others wait."""

    def __init__(self, *, name: str) -> None:
        self.news = News()
        self.n_errors = 0
        self._errors: deque[str] = deque(maxlen=MAX_ERRORS)
        self._name = name
        self._labels: dict[str, _Label] = {}
        self._messages = JsonMessages()
        self._heard = b""
        """The first bytes ever; they tell another device, should no label follow."""
        self.garbled: bytes | None = None
        """The head of the last message that was no JSON; whoever asks anew forgets it."""

    def feed(self, data: bytes) -> list[str]:
        """Take in what came, and return the labels that had another value before.

        Raises
        ------
        BadReply
            If the very first bytes are no JSON object: this is another device.
        """
        self._heard = self._heard or data.lstrip(b" \t\r\n\x17")[:HEARD_BYTES]
        if self._heard and not self._heard.startswith(b"{"):
            raise self._another_device()
        changed = [self._take(one) for one in self._messages.feed(data)]
        self.news.tell()
        return [label for label in changed if label is not None]

    def value(self, label: str) -> Json:
        """Return what was told last; None if nothing was."""
        return self._labels.get(label, _Label()).value

    def take_errors(self) -> tuple[str, ...]:
        """Return the complaints since the last time, the latest last."""
        errors = tuple(self._errors)
        self._errors.clear()
        return errors

    def last_error(self) -> str:
        return self._errors[-1] if self._errors else ""

    def marks(self, labels: tuple[str, ...]) -> dict[str, int]:
        """Return how often each label has been told, to be asked `newer` about."""
        return {label: self._n_told(label) for label in labels}

    def newer(self, marks: dict[str, int]) -> bool:
        return all(self._n_told(label) > mark for label, mark in marks.items())

    def missed(self, marks: dict[str, int], *, within_s: float) -> InstrumentError:
        """Make the error of labels that were not told in time."""
        missing = [label for label, mark in marks.items() if self._n_told(label) <= mark]
        what = f"{self._name}: {', '.join(missing)} not told within {within_s:g} s"
        if self._heard and not self._labels:
            return self._another_device()
        if self.garbled is None:
            return NoReply(what)
        return BadReply(f"{what}, but {self.garbled!r}, which is no JSON")

    def _another_device(self) -> BadReply:
        return BadReply(f"expected a {self._name}, but {self._heard!r} answers")

    def _n_told(self, label: str) -> int:
        return self._labels.get(label, _Label()).n_told

    def _take(self, one: Update | Garbled) -> str | None:
        if isinstance(one, Garbled):
            self.garbled = one.head
            return None
        known = self._labels.setdefault(one.label, _Label())
        first, changed = known.n_told == 0, known.value != one.value
        known.value = one.value
        known.n_told += 1
        # Asked for its properties, the box repeats an error that is long known.
        if (
            "Error" in one.label
            and one.value not in ("", None)
            and (first or changed or not one.full)
        ):
            self._errors.append(f"{one.label}: {one.value}"[:200])
            self.n_errors += 1
        return one.label if changed and not first else None
