"""ID Quantique ID1000 (ID900) time controller: four inputs, 1 ps, times by way of its data link.

Sources: "Time Controller Series User Manual", pages 42 to 91, and the vendor's example programs.
The device answers SCPI on ZeroMQ. Its times go to a service on a host, the DataLinkTargetService
(DLT), which must be running: it speaks the device's own wire, and passes the times on, input by
input, on sockets that we connect to. In one long acquisition the device sends them only when its
memory is full, so that the acquisition is cut into records (`drivers.timetagger.id1000_records`).

Limits: the device takes fewer than 10 million events a second over all inputs; beyond, it may need
to be switched off and on (manual page 48). Delay blocks and routing stay as the operator left them.
"""

import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import trio

from drivers.errors import BadReply, NoReply
from drivers.exchange_lock import ExchangeLock
from drivers.identity import Identity
from drivers.tags import TagBlock
from drivers.timetagger.id1000_inputs import set_inputs
from drivers.timetagger.id1000_records import RecordMerger
from drivers.timetagger.id1000_settings import STREAM_PORT, Id1000Settings
from drivers.timetagger.id1000_talk import MODEL, Asker, DataLink, Scpi

POLL_S = 0.04
"""Between two questions whether a record has ended, once it may have."""
AGAIN_S = POLL_S / 2
"""Before a doubtful answer is asked for again: pieces of the next record may come every 50 ms, and
what is asked in between must be the same twice."""
EARLIER_S = POLL_S / 4
"""The next record is asked for that much sooner after the last than a record is long: so it is soon
seen a poll after its end at most, and each question comes but little more than once a record."""
SILENCE_TIMEOUT_S = 3.0
"""How late the end of a record may be reported."""
MAX_AHEAD = 4
"""So many records of one input are taken while another's are missing; more stay in its socket."""
ERRORS_EVERY_S = 1.0
"""The device is asked for the errors of one input after the other: four questions each second would
be half of all that are asked. What is lost is seen by the end of a block, or of the one after."""
STOP_QUIET_S = 0.6
"""Without news for so long after a stop, everything has come."""
STOP_TIMEOUT_S = 10.0

_SERIAL = re.compile(r"Serial\s*:\s*(\w+)", re.IGNORECASE)


class TagStream(Protocol):
    def ready(self) -> list[npt.NDArray[np.uint8]]:
        """Return the messages that are there; NoReply when there will be no more."""
        ...

    def close(self) -> None: ...


OpenStream = Callable[[int], Awaitable[TagStream]]
"""From a port on the DLT's host to its stream, connected."""


@dataclass
class _Run:
    records: RecordMerger
    streams: dict[int, TagStream] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)
    n_errors: dict[tuple[str, int], int] = field(default_factory=dict)
    """Told so far, by who told it and input."""
    errors_asked_s: float = 0.0
    n_errors_asked: int = 0
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    lost: bool = False
    due_s: float = 0.0
    """Before it nobody need ask whether a record has ended."""

    def close(self) -> None:
        for stream in self.streams.values():
            stream.close()

    def count_errors(self, teller: str, number: int, n_errors: int) -> None:
        told = self.n_errors.get((teller, number), 0)
        self.lost |= n_errors > told
        self.n_errors[teller, number] = max(told, n_errors)


class IdqId1000:
    """Driver of one ID1000 over ways to talk that it does not own."""

    def __init__(
        self, scpi: Asker, dlt: Asker, open_stream: OpenStream, settings: Id1000Settings
    ) -> None:
        self._scpi = Scpi(scpi)
        self._dlt = DataLink(dlt)
        self._open_stream = open_stream
        self._settings = settings
        self._run: _Run | None = None
        self._reading = ExchangeLock()

    async def identity(self) -> Identity:
        """Only the serial number's place in the reply is known; the whole stands for the model.

        Raises
        ------
        BadReply
            If there is none: it is another device.
        """
        self._require_idle()
        reply = await self._scpi.ask("*IDN?")
        match = _SERIAL.search(reply)
        if match is None:
            raise BadReply(f"expected an {MODEL} with a serial number, but {reply[:200]!r} answers")
        return Identity(model=" ".join(reply.split()), serial=match[1], firmware="")

    async def settle(self) -> None:
        """End what an earlier owner left running; acquisitions of other devices go on."""
        self._require_idle()
        await self._scpi.set("REC:STOP")
        for acquisition in await self._dlt.running():
            if acquisition.rpartition(":")[0] == self._settings.host:
                await self._dlt.forget(acquisition)

    async def start(self) -> None:
        self._require_idle()
        await self.settle()
        await set_inputs(self._scpi, self._settings)
        await self._set_records()
        run = _Run(
            RecordMerger(
                self._settings.inputs,
                width_ps=self._settings.width_ps,
                period_ps=self._settings.period_ps,
            ),
            errors_asked_s=trio.current_time(),
        )
        try:
            for number in self._settings.inputs:
                await self._start_stream(run, number)
            await self._scpi.set("REC:PLAY")
            stage = await self._scpi.ask("REC:STAGe?")
            if stage.upper() != "PLAYING":
                raise BadReply(f"{MODEL}: told to play, but its stage is {stage!r}")
        except BaseException:
            run.close()
            raise
        self._run = run
        run.due_s = trio.current_time() + self._next_record_s()

    async def read(self) -> TagBlock:
        async with self._reading:
            give_up_s = trio.current_time() + self._settings.period_ps * 1e-12 + SILENCE_TIMEOUT_S
            while True:
                run = self._require_running()
                block = run.records.take()
                if block is not None:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    lost, run.lost = block.lost or run.lost, False
                    return TagBlock(block.times_ps, block.channels, block.until_ps, lost=lost)
                if trio.current_time() > give_up_s:
                    raise await self._silence(run)
                await trio.sleep_until(run.due_s)
                await self._look(run)
                await self._ask_for_errors_in_turn(run)
                run.due_s = trio.current_time() + self._wait_s(run)

    async def stop(self) -> TagBlock:
        """End the acquisition.

        ``lost`` is also set if the device or the data link counted errors that it did not tell
        before, or if the inputs did not all report the same number of records.
        """
        async with self._reading:
            run = self._require_running()
            self._run = None
            try:
                await self._scpi.set("REC:STOP")
                whole = await self._await_the_rest(run)
                for number in run.streams:
                    status = await self._dlt.stop(run.ids[number])
                    run.count_errors("data link", number, status.n_errors)
                    run.lost |= status.timestamps_count != run.records.inputs[number].n_arrived
                    await self._scpi.set(f"RAW{number}:SEND OFF")
                await self._ask_for_errors(run, *run.streams)
            finally:
                run.close()
            rest = run.records.finish()
            lost = rest.lost or run.lost or not whole
            return TagBlock(rest.times_ps, rest.channels, rest.until_ps, lost=lost)

    def _wait_s(self, run: _Run) -> float:
        if not run.records.lacking:
            return self._next_record_s()
        return AGAIN_S if run.records.in_doubt else POLL_S

    def _next_record_s(self) -> float:
        return self._settings.period_ps * 1e-12 - EARLIER_S

    async def _set_records(self) -> None:
        settings = self._settings
        await self._scpi.set(
            "REC:TRIG:ARM:MODE MANUal",
            "REC:ENABle ON",
            "REC:STOP",
            "REC:NUM INF",
            f"REC:PWID {settings.width_ps};PPER {settings.period_ps}",
        )

    async def _start_stream(self, run: _Run, number: int) -> None:
        settings = self._settings
        if settings.stop:
            await self._scpi.set(f"RAW{number}:STOP:LINK {settings.stop}{number}")
        await self._scpi.set(f"RAW{number}:REF:LINK NONE", f"RAW{number}:ERRORS:CLEAR")
        port = self._stream_port(number)
        run.ids[number] = await self._dlt.start_stream(settings.host, number, port)
        run.streams[number] = await self._open_stream(port)
        await self._scpi.set(f"RAW{number}:SEND ON")

    def _stream_port(self, number: int) -> int:
        if self._settings.streams is not None:
            return self._settings.streams + number
        if not self._settings.dlt_is_local:
            return STREAM_PORT + number
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return int(taken.getsockname()[1])

    async def _look(self, run: _Run) -> None:
        """Ask the DLT how far it is, then take what has come; a cancel loses nothing."""
        for number, stream in run.streams.items():
            status = await self._dlt.status(run.ids[number])
            records = run.records.inputs[number]
            if len(records.ended) < MAX_AHEAD:
                for message in stream.ready():
                    records.add(message)
            records.report(status.acquisitions_count, status.timestamps_count)
            run.counts[number] = (status.acquisitions_count, status.timestamps_count)
            run.count_errors("data link", number, status.n_errors)

    async def _ask_for_errors_in_turn(self, run: _Run) -> None:
        now_s = trio.current_time()
        if now_s - run.errors_asked_s < ERRORS_EVERY_S:
            return
        await self._ask_for_errors(run, [*run.streams][run.n_errors_asked % len(run.streams)])
        run.n_errors_asked += 1
        run.errors_asked_s = now_s

    async def _ask_for_errors(self, run: _Run, *numbers: int) -> None:
        for number in numbers:
            n_errors = await self._scpi.number(f"RAW{number}:ERRORS?")
            run.count_errors("device", number, n_errors)

    async def _silence(self, run: _Run) -> NoReply:
        stage = await self._scpi.ask("REC:STAGe?")
        return NoReply(
            f"{MODEL}: input {', '.join(map(str, run.records.lacking))} has not ended its record "
            f"{SILENCE_TIMEOUT_S:g} s after it should have; the device's stage is {stage!r}, "
            f"{sum(one.in_flight for one in run.records.inputs.values())} times are missing"
        )

    async def _await_the_rest(self, run: _Run) -> bool:
        """Look until nothing more comes; say whether all inputs ended the same record."""
        news_s = trio.current_time()
        with trio.move_on_after(STOP_TIMEOUT_S):
            while True:
                before = dict(run.counts)
                playing = (await self._scpi.ask("REC:STAGe?")).upper() == "PLAYING"
                await self._look(run)
                now_s = trio.current_time()
                inputs = run.records.inputs.values()
                even = len({one.n_ended for one in inputs}) == 1
                arriving = any(one.in_flight for one in inputs)
                if playing or arriving or run.counts != before:
                    news_s = now_s
                elif even and now_s - news_s > STOP_QUIET_S:
                    return True
                await trio.sleep(POLL_S)
        return False

    def _require_idle(self) -> None:
        if self._run is not None:
            raise RuntimeError(f"the {MODEL} is running")

    def _require_running(self) -> _Run:
        if self._run is None:
            raise RuntimeError(f"the {MODEL} is not running")
        return self._run
