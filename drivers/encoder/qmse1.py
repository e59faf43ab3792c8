"""QMSE-1 state encoder: sealed frames on a byte stream (docs/encoder-protocol.md, version 2)."""

import struct
from collections.abc import Callable

import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drivers.encoder import EncoderPlan, EncoderState, EncoderStatus
from drivers.errors import BadReply, NoReply, Refused
from drivers.exchange_lock import ExchangeLock
from drivers.identity import Identity
from drivers.transport import Reader, Transport

MODEL = "QMSE-1"
VERSION = 2
KEY_BYTES = 32
SEED_BYTES = 32
NONCE_BYTES = 16
TAG_BYTES = 16
MAX_FRAME_BYTES = 4096
REPLY_TIMEOUT_S = 1.0
NO_BLOCK = 2**64 - 1
MAX_LEVEL = 2

HELLO = struct.Struct("<4sBBH16s")
PLAN = struct.Struct("<QIIIHHHddB")
STATUS = struct.Struct("<BQQQB")

IDENTIFY, CONFIGURE, LOAD_SEED, START, STOP, ASK_STATUS, SHOW = range(1, 8)
ANSWER = 0x80
DONE = 0
STATUS_TEXT = {
    1: "unknown opcode",
    2: "malformed fields",
    3: "value out of range",
    4: "wrong state",
    5: "no seed",
}


class Qmse1:
    """Driver of one board on a transport that it does not own.

    A frame that does not open, or a request that was sent in part only, ends the session: the
    board goes dark by itself, and every later call raises NoReply.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        key: bytes | memoryview,
        entropy: Callable[[int], bytes],
    ) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a board key has {KEY_BYTES} bytes, not {len(key)}")
        self._transport = transport
        self._reader = Reader(transport, name=MODEL)
        self._key = key
        self._entropy = entropy
        self._lock = ExchangeLock()
        self._sealer: AESGCM | None = None
        self._opener: AESGCM | None = None
        self._n_sent = 0
        self._n_opened = 0
        self._broken = ""
        self._sent_s = 0.0
        """When the last request was sent."""

    async def identity(self) -> Identity:
        fields = await self._request(IDENTIFY)
        texts: list[str] = []
        while fields:
            text, fields = fields[1 : 1 + fields[0]], fields[1 + fields[0] :]
            texts.append(text.decode("utf-8", "replace"))
        if len(texts) != 3:
            raise self._break(BadReply(f"{MODEL}: identity has {len(texts)} texts, not 3"))
        model, firmware, serial = texts
        return Identity(model=model, serial=serial, firmware=firmware)

    async def configure(self, plan: EncoderPlan) -> None:
        try:
            fields = PLAN.pack(
                plan.pulse_rate_hz,
                plan.preamble_pulses,
                plan.frame_pulses,
                plan.calibration_pulses,
                plan.key_threshold,
                plan.signal_threshold,
                plan.weak_threshold,
                plan.weak_ratio,
                plan.vacuum_ratio,
                len(plan.ramp_frames),
            ) + struct.pack(f"<{len(plan.ramp_frames)}H", *plan.ramp_frames)
        except struct.error as error:
            raise ValueError(f"{plan} does not fit the protocol's fields: {error}") from error
        await self._request(CONFIGURE, fields)

    async def load_seed(self, block: int | None, seed: bytes | bytearray | memoryview) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        fields = bytearray(struct.pack("<Q", NO_BLOCK if block is None else block))
        fields += seed
        try:
            await self._request(LOAD_SEED, fields)
        finally:
            fields[:] = bytes(len(fields))

    async def start(self, run: int) -> None:
        await self._request(START, struct.pack("<Q", run))

    async def show(self, level: int) -> None:
        if not 0 <= level <= MAX_LEVEL:
            raise ValueError(f"no level {level}: they are 0 to {MAX_LEVEL}")
        await self._request(SHOW, bytes([level]))

    async def stop(self) -> None:
        await self._request(STOP)

    async def status(self) -> EncoderStatus:
        return self._read_status(await self._request(ASK_STATUS))

    async def status_before(self) -> EncoderStatus | None:
        """The board answers in order; every other request takes the answers before its own away.

        An answer that is older than the board's patience says nothing: it may have stopped since.
        """
        answer = b""
        async with self._lock:
            late_s = self._sent_s + REPLY_TIMEOUT_S
            with trio.move_on_after(REPLY_TIMEOUT_S) as patience:
                await self._greet_once()
                await self._send(ASK_STATUS, b"")
            if not patience.cancelled_caught and trio.current_time() < late_s:
                self._reader.take_waiting()
                with trio.move_on_at(late_s) as patience:
                    while self._n_opened < self._n_sent - 1:
                        answer = await self._frame()
            if patience.cancelled_caught:
                raise self._silence(ASK_STATUS)
        if not answer or answer[0] != ASK_STATUS | ANSWER:
            return None
        return self._read_status(self._accepted(ASK_STATUS, answer))

    def _read_status(self, fields: bytes) -> EncoderStatus:
        try:
            state, run, pulses, block, n_seeds = STATUS.unpack(fields)
            known = EncoderState(state)
        except (struct.error, ValueError) as error:
            raise self._break(BadReply(f"{MODEL}: status {fields.hex()}: {error}")) from error
        return EncoderStatus(
            state=known,
            run=run,
            pulses=pulses,
            block=None if block == NO_BLOCK else block,
            n_seeds=n_seeds,
        )

    async def _request(self, opcode: int, fields: bytes | bytearray = b"") -> bytes:
        """Ask, and return the fields of the answer.

        Raises
        ------
        Refused
            With the board's reason.
        """
        async with self._lock:
            answer = b""
            with trio.move_on_after(REPLY_TIMEOUT_S) as patience:
                await self._greet_once()
                await self._send(opcode, fields)
                answer = await self._answer()
            if patience.cancelled_caught:
                raise self._silence(opcode)
        return self._accepted(opcode, answer)

    def _silence(self, opcode: int) -> NoReply:
        return NoReply(f"{MODEL}: no answer to request {opcode:#04x} within {REPLY_TIMEOUT_S:g} s")

    def _accepted(self, opcode: int, answer: bytes) -> bytes:
        if len(answer) < 2 or answer[0] != opcode | ANSWER:
            raise self._break(
                BadReply(f"{MODEL}: {answer[:2].hex()!r} is no answer to request {opcode:#04x}")
            )
        status, rest = answer[1], answer[2:]
        if status != DONE:
            reason = rest.decode("utf-8", "replace")[:200]
            name = STATUS_TEXT.get(status, f"status {status}")
            raise Refused(f"{MODEL}: request {opcode:#04x} refused: {name}: {reason}")
        return rest

    async def _greet_once(self) -> None:
        """Open the session with its first request; half a greeting is never taken up again."""
        if self._broken:
            raise NoReply(f"{MODEL}: the session is over: {self._broken}")
        if self._sealer is not None:
            return
        self._broken = "the greeting was cut"
        nonce = self._entropy(NONCE_BYTES)
        await self._transport.send(HELLO.pack(b"QMSE", VERSION, 0, 0, nonce))
        hello = await self._reader.exactly(HELLO.size)
        magic, version, zero, zeros, board_nonce = HELLO.unpack(hello)
        if magic != b"QMSE" or version != VERSION or zero or zeros:
            raise self._break(
                BadReply(f"expected a {MODEL} of version {VERSION}, but {hello[:8]!r} answers")
            )
        keys = HKDF(algorithm=SHA256(), length=64, salt=nonce + board_nonce, info=b"QMSE-1").derive(
            self._key
        )
        self._sealer, self._opener = AESGCM(keys[:32]), AESGCM(keys[32:])
        self._broken = ""

    async def _send(self, opcode: int, fields: bytes | bytearray) -> None:
        assert self._sealer is not None
        payload = bytearray([opcode]) + fields
        length = struct.pack("<I", len(payload) + TAG_BYTES)
        sealed = self._sealer.encrypt(_nonce(self._n_sent), payload, length)
        payload[:] = bytes(len(payload))
        self._broken = "a request was cut"
        await self._transport.send(length + sealed)
        self._n_sent += 1
        self._sent_s = trio.current_time()
        self._broken = ""

    async def _answer(self) -> bytes:
        """Return the answer to the last request; those of requests that were cut come before."""
        answer = b""
        while self._n_opened < self._n_sent:
            answer = await self._frame()
        return answer

    async def _frame(self) -> bytes:
        assert self._opener is not None
        length = await self._reader.peek(4)
        (n_bytes,) = struct.unpack("<I", length)
        if not TAG_BYTES < n_bytes <= MAX_FRAME_BYTES:
            raise self._break(BadReply(f"{MODEL}: a frame of {n_bytes} bytes"))
        frame = await self._reader.exactly(4 + n_bytes)
        try:
            payload = self._opener.decrypt(_nonce(self._n_opened), frame[4:], length)
        except InvalidTag:
            raise self._break(
                BadReply(f"{MODEL}: frame {self._n_opened} does not open: wrong board key?")
            ) from None
        self._n_opened += 1
        return payload

    def _break(self, error: BadReply) -> BadReply:
        """End the session: nothing after this can be trusted."""
        self._broken = str(error)
        return error


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "little")
