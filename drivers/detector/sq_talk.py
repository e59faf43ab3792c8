"""Talking to a WebSQ on its control port: questions, settings, and listening all the while.

No answer belongs to a question: a label is told because we asked, because another client asked,
or because it changed. Each is true when it is sent, and the box works in order, so what it tells
after a command shows what the command did. A command has no terminator, so that half of one would
spoil the next: a send is not cancelled.
"""

import json
from collections.abc import Callable

import trio

from drivers.detector.sq_json import Json
from drivers.detector.sq_labels import Labels
from drivers.detector.sq_values import MODEL
from drivers.errors import InstrumentError, NoReply, Refused
from drivers.transport import Transport

LABEL_TIMEOUT_S = 10.0
REPEAT_S = 1.0
"""The vendor's client repeats its question every 0.1 s, up to 10 s."""
SEND_TIMEOUT_S = 2.0
SET_TIMEOUT_S = 3.0
POLL_S = 0.1


class Talk:
    def __init__(self, control: Transport) -> None:
        self.labels = Labels(name=MODEL)
        self._control = control
        self._sending = trio.Lock()
        self._setting = trio.Lock()

    async def listen(self, changed: Callable[[str], None]) -> None:
        """Take what the box tells, until cancelled or the connection breaks; ``changed`` hears of
        each label that was known and has another value now."""
        try:
            while True:
                for label in self.labels.feed(await self._control.receive_some()):
                    changed(label)
        except InstrumentError as error:
            self.labels.news.fail(error)

    async def fresh(self, *labels: str, request: str | None = None) -> list[Json]:
        """Ask until each of ``labels`` has been told.

        Without ``request`` the box is asked for the properties of all its labels.

        Raises
        ------
        NoReply
            If one is not told within `LABEL_TIMEOUT_S`.
        BadReply
            If what came instead is no JSON.
        """
        question: dict[str, Json] = {"request": request or "labelProps"}
        if request is None:
            question["value"] = "None"
        self.labels.garbled = None
        marks = self.labels.marks(labels)
        give_up_s = trio.current_time() + LABEL_TIMEOUT_S
        while not self.labels.newer(marks):
            if trio.current_time() >= give_up_s:
                raise self.labels.missed(marks, within_s=LABEL_TIMEOUT_S)
            await self.send(question)
            with trio.move_on_after(REPEAT_S):
                while not self.labels.newer(marks):
                    await self.labels.news.wait()
        return [self.labels.value(label) for label in labels]

    async def set(
        self, command: str, label: str, wanted: Json, reached: Callable[[Json], bool]
    ) -> None:
        """Send a setting, and ask for its label until it is there.

        Raises
        ------
        Refused
            If it is not there when the box has complained, or after `SET_TIMEOUT_S`.
        """
        async with self._setting:
            n_errors = self.labels.n_errors
            await self.send({"command": command, "label": label, "value": wanted})
            give_up_s = trio.current_time() + SET_TIMEOUT_S
            while True:
                (told,) = await self.fresh(label)
                if reached(told):
                    return
                if self.labels.n_errors > n_errors:
                    reason = self.labels.last_error()
                elif trio.current_time() >= give_up_s:
                    reason = f"no change within {SET_TIMEOUT_S:g} s"
                else:
                    await trio.sleep(POLL_S)
                    continue
                what = f"{label} is to be {wanted!r:.80}, and is {told!r:.80}"
                raise Refused(f"{MODEL}: {what}: {reason}")

    async def send(self, message: dict[str, Json]) -> None:
        """Send one object; a connection that takes only half of it is given up for good."""
        self.labels.news.check()
        async with self._sending:
            with trio.move_on_after(SEND_TIMEOUT_S, shield=True) as scope:
                await self._control.send(json.dumps(message).encode())
            if scope.cancelled_caught:
                self.labels.news.fail(NoReply(f"{MODEL}: takes no command; reopen it"))
                self.labels.news.check()
