"""What Alice says of runs, heard by Bob with or without a tagger; and why he is not ready.

idle --RunAnnounced--> announced --taken--> in hand --over--> idle
announced --something hinders--> RunWaits, once for each reason --taken--> ...
"""

import trio

from qkdd.daemon.distil import Send
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.silence import Silence
from qkdd.station.messages import MAX_REASON, RunAnnounced, RunStopped, RunWaits

A_RUN = "a new run of light"
NOT_OPEN = "its time tagger is not open yet"
TELL_EVERY_S = 5.0
"""At most: a reason with numbers in it changes twice a second, and each word costs 16 bytes of
authentication key."""


class RunMail:
    """Bob's ear for runs, for as long as the session lasts."""

    def __init__(self, mailbox: Mailbox, send: Send, silence: Silence) -> None:
        self._mailbox = mailbox
        self._send = send
        self._silence = silence
        self._announced: RunAnnounced | None = None
        self._stopped: RunStopped | None = None
        self._why: str | None = NOT_OPEN
        self._told: tuple[int, str] | None = None
        self._changed = trio.Event()

    async def run(self) -> None:
        """Listen, and tell what hinders a run that is announced, until cancelled."""
        self._silence.expect(A_RUN, patient=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._tell)

    @property
    def announced(self) -> RunAnnounced | None:
        """The run that Alice would begin, which is still there."""
        return self._announced

    def take_announced(self) -> None:
        """Take it in hand."""
        self._announced = None

    def take_stopped(self) -> RunStopped | None:
        """Return what Alice has stopped since the last call."""
        stopped, self._stopped = self._stopped, None
        return stopped

    def over(self) -> None:
        """The run in hand is over for Bob: another is due."""
        if self._announced is None and self._stopped is None:
            self._silence.expect(A_RUN, patient=True)

    def hindered(self, why: str | None) -> None:
        """No run can be taken up for this reason; None: nothing hinders."""
        if why != self._why:
            self._why = why
            self._stir()

    async def _listen(self) -> None:
        while True:
            message = await self._mailbox.get(RunAnnounced, RunStopped)
            self._silence.settle(A_RUN)
            if isinstance(message, RunAnnounced):
                self._announced = message
            elif isinstance(message, RunStopped):
                self._stopped = message
                if self._announced is not None and self._announced.run == message.run:
                    self._announced = None
            self._stir()

    async def _tell(self) -> None:
        while True:
            changed, run, why = self._changed, self._announced, self._why
            if run is None or why is None or self._told == (run.run, why):
                await changed.wait()
                continue
            self._told = run.run, why
            await self._send(RunWaits(run=run.run, reason=why[:MAX_REASON]))
            await trio.sleep(TELL_EVERY_S)

    def _stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
