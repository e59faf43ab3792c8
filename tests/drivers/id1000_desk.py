"""A desk of questions and answers for an ID1000's driver: what is not on it fails the test."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import trio

from drivers.errors import NoReply
from drivers.timetagger.id1000_settings import Id1000Settings
from drivers.timetagger.idq_id1000 import IdqId1000

RECORD_PS = 200 * 10**9
PERIOD_PS = RECORD_PS + 400_000
ADDRESS = "10.98.99.7"


def message(*times: int) -> np.ndarray:
    return np.frombuffer(np.array(times, "<u8").tobytes(), np.uint8)


@dataclass
class Desk:
    """Answers text, writes down all that was asked."""

    answers: dict[str, str | Callable[[], str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def ask(self, question: str) -> str:
        await trio.lowlevel.checkpoint()
        self.asked.append(question)
        answer = self.answers.get(question, "" if "?" not in question else None)
        assert answer is not None, f"unexpected: {question!r}"
        if answer == "never":
            await trio.sleep_forever()
        return answer if isinstance(answer, str) else answer()


@dataclass
class Pipe:
    """One input's stream."""

    messages: list[np.ndarray] = field(default_factory=list)
    cut: bool = False
    closed: bool = False

    def ready(self) -> list[np.ndarray]:
        if self.cut and not self.messages:
            raise NoReply("the stream was cut")
        ready, self.messages = self.messages, []
        return ready

    def close(self) -> None:
        self.closed = True


class Bench:
    """The driver, what it talks to, and the counts that the data link tells."""

    def __init__(self, settings: Id1000Settings | None = None) -> None:
        self.settings = settings or Id1000Settings(host=ADDRESS, inputs=(1, 3), streams=4241)
        self.scpi = Desk({"*IDN?": "IDQ ID1000\nSerial : TC42", "REC:STAGe?": "PLAYING"})
        self.dlt = Desk({"list": "[]"})
        self.pipes: dict[int, Pipe] = {}
        self.counts: dict[int, tuple[int, int]] = {}
        self.errors: dict[int, str] = {}
        self.opened: list[int] = []
        for n in self.settings.inputs:
            self.pipes[n], self.counts[n], self.errors[n] = Pipe(), (0, 0), "[]"
            name = f"{ADDRESS}:{5555 + n}"
            self.scpi.answers[f"INPU{n}:HIRES:ERROR?"] = "0"
            self.scpi.answers[f"RAW{n}:ERRORS?"] = "0"
            start = f"start-stream --address {ADDRESS} --channel {n} --stream-port {4241 + n}"
            self.dlt.answers[start] = f'{{"id": "{name}"}}'
            self.dlt.answers[f"status --id {name}"] = lambda n=n: self.status(n)
            self.dlt.answers[f"stop --id {name}"] = lambda n=n: f'{{"status": {self.status(n)}}}'
        self.tagger = IdqId1000(self.scpi, self.dlt, self._open, self.settings)

    def status(self, n: int) -> str:
        n_records, n_times = self.counts[n]
        return (
            f'{{"acquisitions_count": {n_records}, "errors": {self.errors[n]}, '
            f'"inactivity": 0.05, "timestamps_count": {n_times}}}'
        )

    def record(self, times: dict[int, list[int]]) -> None:
        """Let every input end a record with these times."""
        for n, pipe in self.pipes.items():
            if times.get(n):
                pipe.messages.append(message(*times[n]))
            n_records, n_times = self.counts[n]
            self.counts[n] = (n_records + 1, n_times + len(times.get(n, [])))

    def stopped(self) -> None:
        self.scpi.answers["REC:STAGe?"] = "IDLE"

    async def _open(self, port: int) -> Pipe:
        await trio.lowlevel.checkpoint()
        self.opened.append(port)
        return self.pipes[port - 4241]
