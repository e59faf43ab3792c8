"""S-Fifteen TDC1: four inputs, 2 ns, a stream of 32-bit words over USB CDC serial.

Sources: S-Fifteen's wiki "TDC1 Documentation" (2024-09-13); qcrypto readevents4/readevents4a.c;
S15lib usb_counter_fpga.py. Ended by CR LF; settings are not answered; queries by one line.
While it streams only ``abort`` and ``INPKT`` are safe: the answer to anything else would be mixed
into the words. So an overflow of its FIFO is asked for when the acquisition ends (`stop`). While
it runs, `drivers.timetagger.tdc1_stream` sees what the stream itself can show, and
`drivers.timetagger.wrap_watch` whether a stall of ours has cost whole wraps of the time: an
overflow shorter than that leaves the times right, and costs only the tags.
"""

import re
from typing import Literal

import trio

from drivers.beat import next_beat
from drivers.errors import BadReply, NoReply
from drivers.exchange_lock import ExchangeLock
from drivers.identity import Identity
from drivers.kernels import tdc1
from drivers.tags import TagBlock
from drivers.timetagger.tdc1_stream import Tdc1Decoder
from drivers.timetagger.wrap_watch import STALL_S, WrapWatch
from drivers.transport import LineProtocol, Transport

MODEL = "TDC1"
REPLY_TIMEOUT_S = 1.0
MODE_TIMESTAMP = "3"
STATUS_OVERFLOW = 0x0010

FLUSH_AFTER_S = 0.2
"""Without bytes for so long, a short USB packet is asked for (readevents4a.c)."""
SILENCE_TIMEOUT_S = 1.0
"""Even in the dark a dummy event comes every 140 ms: after a flush this silence is a fault."""
PAUSE_S = 0.25
"""Between two reads: one that finds the caches cold costs nearly the same whether it brings a tag
or ten thousand. Shorter while so much comes that it would fill more than half of its room; else it
ends with a whole multiple of the loop's clock, when a host does whatever else has its times."""
EMPTY_PAUSES = 2
"""So many bring nothing before somebody wakes for the next packet by itself."""
FEW_BYTES_PER_S = 100
"""At a lower rate there is no pause: dummy events alone, which make 30 bytes a second, are to be
met as they come, for the sake of `WrapWatch`."""
MANY_BYTES_PER_S = 10_000
"""At a higher rate the last word that was read is fresh, too: packets of 512 bytes are filled in
less than 50 ms. In between it may be nearly as old as a wrap is long, and says nothing."""
GATHER_BYTES = 1 << 19
"""If more has come, it is taken at once when these have been decoded."""
TAKE_BYTES = 1 << 17
PIECE_BYTES = 120 << 10
"""Of each `TagBlock`: its times take twice as much, which stays in the caches and, as it is less
than 256 KiB, in memory that is used again."""
STOP_QUIET_S = 0.2
WRAP_S = tdc1.WRAP_TICKS * tdc1.TICK_PS * 1e-12

_STATUS = re.compile(rb"([0-9A-Fa-f]{4}) \r\n\Z")

InputStandard = Literal["nim", "ttl"]


class S15Tdc1:
    """Driver of one TDC1 on a transport that it does not own."""

    def __init__(self, transport: Transport, *, inputs: InputStandard = "nim") -> None:
        self._transport = transport
        self._inputs = inputs
        self._text = LineProtocol(
            transport,
            name=MODEL,
            marker="*IDN?",
            is_marker=lambda line: MODEL in line,
            timeout_s=REPLY_TIMEOUT_S,
            terminator=b"\r\n",
        )
        self._decoder: Tdc1Decoder | None = None
        self._watch = WrapWatch(wrap_s=WRAP_S)
        self._read_s = 0.0
        self._looked_s = 0.0
        """When the line was last found empty, or read."""
        self._pause_s = 0.0
        self._received = bytearray()
        self._emptied = False
        self._is_fresh = True
        self._reading = ExchangeLock()

    async def identity(self) -> Identity:
        """Only the model is known to be in the reply; the whole line stands for it."""
        self._require(running=False)
        return Identity(model=await self._text.ask("*IDN?"), serial="", firmware="")

    async def settle(self) -> None:
        """Bring it from whatever an earlier owner left (a stream, half a command) to idle."""
        self._require(running=False)
        await self._transport.send(b"\r\nabort\r\n")
        await self._text.drain(STOP_QUIET_S)

    async def start(self) -> None:
        self._require(running=False)
        await self.settle()
        await self._text.write(f"*RST;{self._inputs.upper()};TIME 0;timestamp")
        mode = await self._text.ask("MODE?")
        time_ms = await self._text.ask("TIME?")
        if mode != MODE_TIMESTAMP or time_ms != "0":
            self._text.distrust()
            raise BadReply(
                f"{MODEL}: asked for mode {MODE_TIMESTAMP} and time 0, but it has mode {mode!r} "
                f"and time {time_ms!r}"
            )
        await self._transport.send(b"COUNTS?\r\n")
        self._received.clear()
        self._decoder = Tdc1Decoder()
        self._watch = WrapWatch(wrap_s=WRAP_S)
        self._read_s = self._looked_s = trio.current_time()
        self._pause_s = 0.0

    async def read(self) -> TagBlock:
        async with self._reading:
            while True:
                decoder = self._require(running=True)
                before_ps = decoder.until_ps
                if self._received:  # pieces are left of the last gathering
                    await trio.lowlevel.checkpoint()
                else:
                    self._emptied = await self._gather()
                block = decoder.feed(self._received[:PIECE_BYTES])
                del self._received[:PIECE_BYTES]
                if self._emptied and self._is_fresh and not self._received:
                    block = self._compare_clocks(decoder, block)
                if block.until_ps > before_ps or block.times_ps.size or block.lost:
                    return block

    async def stop(self) -> TagBlock:
        """End the acquisition.

        Raises
        ------
        BadReply
            If the stream does not end with a status word.
        """
        async with self._reading:
            decoder = self._require(running=True)
            self._decoder = None
            await self._transport.send(b"abort;STATUS?\r\n")
            self._received += await self._text.drain(STOP_QUIET_S)
            match = _STATUS.search(self._received)
            if match is None:
                self._text.distrust()
                raise BadReply(f"{MODEL}: no status after abort, but {self._received[-16:]!r}")
            overflow = bool(int(match[1], 16) & STATUS_OVERFLOW)
            block = decoder.feed(self._received[: match.start()])
            self._received.clear()
            await self._text.write("*RST")
            return TagBlock(
                block.times_ps, block.channels, block.until_ps, lost=block.lost or overflow
            )

    def _compare_clocks(self, decoder: Tdc1Decoder, block: TagBlock) -> TagBlock:
        n_wraps = self._watch.caught_up(trio.current_time(), decoder.until_ps * 1e-12)
        if not n_wraps:
            return block
        decoder.skip_wraps(n_wraps)
        return TagBlock(block.times_ps, block.channels, decoder.until_ps, lost=True)

    async def _gather(self) -> bool:
        """Let bytes pile up for a pause, then take them; say whether nothing was left to take.

        A cancel loses no byte.
        """
        empty, self._is_fresh = True, False
        for _ in range(EMPTY_PAUSES if self._pause_s else 1):
            if self._pause_s < PAUSE_S:
                await trio.sleep_until(self._looked_s + self._pause_s)
            else:
                await next_beat(PAUSE_S)
            # What comes in a pause has room: only what comes after it can be lost.
            if trio.current_time() - self._looked_s > self._pause_s + STALL_S:
                self._watch.stalled(trio.current_time())
            self._looked_s = trio.current_time()
            empty = self._take_waiting()
            if self._received:
                break
        else:
            self._is_fresh = True
            await self._wait_for_bytes()
            empty = self._take_waiting()
        self._set_pause(empty)
        return empty

    def _set_pause(self, empty: bool) -> None:
        self._looked_s = trio.current_time()
        since_s, self._read_s = self._looked_s - self._read_s, self._looked_s
        n_bytes = len(self._received)
        self._is_fresh |= n_bytes > MANY_BYTES_PER_S * since_s
        self._pause_s = 0.0
        if empty and n_bytes > FEW_BYTES_PER_S * since_s:
            self._pause_s = min(PAUSE_S, since_s * self._transport.room_bytes / (2 * n_bytes))

    async def _wait_for_bytes(self) -> None:
        with trio.move_on_after(FLUSH_AFTER_S):
            self._received += await self._transport.receive_some()
        if not self._received:
            await self._transport.send(b"INPKT\r\n")
            with trio.move_on_after(SILENCE_TIMEOUT_S):
                self._received += await self._transport.receive_some()
        if not self._received:
            raise NoReply(
                f"{MODEL}: not even a dummy event for {FLUSH_AFTER_S + SILENCE_TIMEOUT_S:g} s"
            )

    def _take_waiting(self) -> bool:
        """Take what has arrived; say whether that was all."""
        while len(self._received) < GATHER_BYTES:
            data = self._transport.receive_waiting(TAKE_BYTES)
            if not data:
                return True
            self._received += data
        return False

    def _require(self, *, running: bool) -> Tdc1Decoder:
        if running is (self._decoder is None):
            raise RuntimeError(f"the {MODEL} is {'not ' if running else ''}running")
        return self._decoder or _IDLE


_IDLE = Tdc1Decoder()
