"""The encoder driver against a board written down from docs/encoder-protocol.md."""

import math
import struct

import pytest
import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drivers.encoder import EncoderPlan, EncoderState, EncoderStatus, Identity
from drivers.encoder.qmse1 import Qmse1
from drivers.errors import BadReply, NoReply, Refused

KEY = bytes(range(32))
PLAN = EncoderPlan(
    pulse_rate_hz=100_000_000,
    preamble_pulses=5_000_000,
    frame_pulses=10_000_000,
    calibration_pulses=50_000,
    key_threshold=27525,
    signal_threshold=42598,
    weak_threshold=19005,
    weak_ratio=0.38,
    vacuum_ratio=0.002,
    ramp_frames=(20, 40, 80, 160),
)


def entropy(n: int) -> bytes:
    return b"\xa5" * n


class Board:
    """The other end of the wire: a transport that answers; ``answers`` are payloads by opcode."""

    def __init__(self, key: bytes = KEY, hello: bytes | None = None) -> None:
        self.key = key
        self.hello = hello or b"QMSE\x02\0\0\0" + b"\x5a" * 16
        self.requests: list[bytes] = []
        self.answers: dict[int, bytes] = {}
        self.silent = False
        self.held = b""
        self.chunk = 65536
        self._in = b""
        self._out = b""
        self._news = trio.Event()
        self._crypt: tuple[AESGCM, AESGCM] | None = None

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._in += data
        if self._crypt is None:
            assert self._in[:8] == b"QMSE\x02\0\0\0"
            salt = self._in[8:24] + self.hello[8:24]
            self._in = self._in[24:]
            keys = HKDF(SHA256(), 64, salt, b"QMSE-1").derive(self.key)
            self._crypt = AESGCM(keys[:32]), AESGCM(keys[32:])
            self.say(self.hello)
        while len(self._in) >= 4:
            n_bytes = struct.unpack("<I", self._in[:4])[0]
            frame, self._in = self._in[: 4 + n_bytes], self._in[4 + n_bytes :]
            nonce = len(self.requests).to_bytes(12, "little")
            payload = self._crypt[0].decrypt(nonce, frame[4:], frame[:4])
            self.requests.append(payload)
            answer = self.answers.get(payload[0], bytes([payload[0] | 0x80, 0]))
            length = struct.pack("<I", len(answer) + 16)
            sealed = length + self._crypt[1].encrypt(nonce, answer, length)
            if self.silent:
                self.held += sealed
            else:
                self.say(sealed)

    def say(self, data: bytes) -> None:
        self._out += data
        self._news.set()

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._out:
            self._news = trio.Event()
            await self._news.wait()
        data, self._out = self._out[: self.chunk], self._out[self.chunk :]
        return data

    def receive_waiting(self, max_bytes: int) -> bytes:
        data, self._out = self._out[: self.chunk], self._out[self.chunk :]
        return data

    async def aclose(self) -> None: ...


def a_driver(board: Board) -> Qmse1:
    return Qmse1(board, key=KEY, entropy=entropy)


@pytest.mark.parametrize("chunk", [1, 7, 65536])
async def test_identity_comes_through_the_seal_in_any_pieces(chunk):
    board = Board()
    board.chunk = chunk
    board.answers[1] = b"\x81\0" + b"\x06QMSE-1" + b"\x031.0" + b"\x02S7"
    assert await a_driver(board).identity() == Identity(model="QMSE-1", serial="S7", firmware="1.0")


async def test_configure_has_the_fields_of_the_protocol():
    board = Board()
    await a_driver(board).configure(PLAN)
    (request,) = board.requests
    assert request[0] == 2
    fields = struct.unpack("<QIIIHHHddB4H", request[1:])
    assert fields == (
        *(100_000_000, 5_000_000, 10_000_000, 50_000, 27525, 42598, 19005),
        *(0.38, 0.002, 4, 20, 40, 80, 160),
    )


async def test_seeds_start_and_stop_have_the_fields_of_the_protocol():
    board = Board()
    encoder = a_driver(board)
    await encoder.load_seed(None, bytes(32))
    await encoder.load_seed(5, memoryview(bytearray(b"\x11" * 32)))
    await encoder.start(9)
    await encoder.stop()
    assert board.requests == [
        b"\x03" + b"\xff" * 8 + bytes(32),
        b"\x03" + struct.pack("<Q", 5) + b"\x11" * 32,
        b"\x04" + struct.pack("<Q", 9),
        b"\x05",
    ]


async def test_a_level_has_the_field_of_the_protocol_and_a_state_of_its_own():
    board = Board()
    encoder = a_driver(board)
    for level in range(3):
        await encoder.show(level)
    assert board.requests == [b"\x07\x00", b"\x07\x01", b"\x07\x02"]
    for level in (-1, 3, 256):
        with pytest.raises(ValueError, match="no level"):
            await encoder.show(level)
    assert len(board.requests) == 3
    board.answers[6] = b"\x86\0" + struct.pack("<BQQQB", 4, 3, 1000, 2**64 - 1, 1)
    assert await encoder.status() == EncoderStatus(EncoderState.SHOWING, 3, 1000, None, 1)


async def test_status_is_read_and_no_block_is_none():
    board = Board()
    encoder = a_driver(board)
    board.answers[6] = b"\x86\0" + struct.pack("<BQQQB", 2, 3, 1000, 4, 2)
    assert await encoder.status() == EncoderStatus(EncoderState.RUNNING, 3, 1000, 4, 2)
    board.answers[6] = b"\x86\0" + struct.pack("<BQQQB", 3, 3, 1000, 2**64 - 1, 0)
    assert await encoder.status() == EncoderStatus(EncoderState.FAULT, 3, 1000, None, 0)


def running(pulses: int) -> bytes:
    return b"\x86\0" + struct.pack("<BQQQB", 2, 3, pulses, 4, 2)


@pytest.mark.parametrize("chunk", [1, 65536])
async def test_the_status_before_is_the_answer_to_the_question_before(autojump_clock, chunk):
    board = Board()
    board.chunk = chunk
    encoder = a_driver(board)
    for pulses in (1, 2, 3):
        board.answers[6] = running(pulses)
        before = await encoder.status_before()
        assert before == (
            EncoderStatus(EncoderState.RUNNING, 3, pulses - 1, 4, 2) if pulses > 1 else None
        )
        await trio.sleep(0.25)
    board.answers[6] = running(4)
    assert (await encoder.status()).pulses == 4
    assert await encoder.status_before() is None
    await encoder.load_seed(5, bytes(32))
    assert await encoder.status_before() is None
    assert len(board.requests) == 7
    assert trio.current_time() == 0.75  # nobody has waited


async def test_a_board_that_is_silent_is_noticed_a_second_after_the_first_question(autojump_clock):
    board = Board()
    board.answers[6] = running(7)
    encoder = a_driver(board)
    assert await encoder.status_before() is None
    await trio.sleep(0.25)
    assert await encoder.status_before() is not None
    board.silent = True
    await trio.sleep(0.25)
    assert await encoder.status_before() is not None
    asked_s = trio.current_time()
    await trio.sleep(0.25)
    with pytest.raises(NoReply, match="no answer to request 0x06"):
        await encoder.status_before()
    assert trio.current_time() - asked_s == pytest.approx(1.0)
    assert len(board.requests) == 4


async def test_after_a_second_without_a_question_the_answer_before_is_too_old(autojump_clock):
    """The board's watchdog may have stopped it since."""
    board = Board()
    encoder = a_driver(board)
    board.answers[6] = running(7)
    assert await encoder.status_before() is None
    await trio.sleep(1.1)
    board.answers[6] = running(8)
    assert await encoder.status_before() is None
    board.answers[6] = running(9)
    assert (await encoder.status()).pulses == 9
    assert await encoder.status_before() is None
    await trio.sleep(0.9)
    assert await encoder.status_before() is not None


async def test_a_refusal_has_the_boards_words_and_the_session_goes_on():
    board = Board()
    encoder = a_driver(board)
    board.answers[4] = b"\x84\x05" + b"calibration seed is missing"
    with pytest.raises(Refused, match="no seed: calibration seed is missing"):
        await encoder.start(1)
    await encoder.stop()


async def test_another_board_key_is_found_out():
    board = Board()
    encoder = a_driver(board)
    await encoder.stop()
    assert board._crypt is not None
    board._crypt = (board._crypt[0], AESGCM(bytes(32)))
    with pytest.raises(BadReply, match="does not open: wrong board key"):
        await encoder.stop()


@pytest.mark.parametrize(
    "hello",
    [b"QMSE\x01\0\0\0" + bytes(16), b"HTTP/1.1 400 Bad Request", b"QMSE\x02\x01\0\0" + bytes(16)],
)
async def test_another_device_or_version_is_a_bad_reply(hello):
    encoder = a_driver(Board(hello=hello))
    with pytest.raises(BadReply, match="expected a QMSE-1 of version 2"):
        await encoder.stop()
    with pytest.raises(NoReply, match="the session is over"):
        await encoder.stop()


async def test_an_answer_that_comes_late_is_not_taken_for_the_next(autojump_clock):
    board = Board()
    encoder = a_driver(board)
    board.answers[6] = b"\x86\0" + struct.pack("<BQQQB", 1, 0, 0, 2**64 - 1, 0)
    await encoder.status()
    board.silent = True
    with pytest.raises(NoReply, match="no answer to request 0x06 within 1 s"):
        await encoder.status()
    board.silent = False
    board.say(board.held)
    board.answers[6] = b"\x86\0" + struct.pack("<BQQQB", 2, 7, 0, 2**64 - 1, 0)
    assert (await encoder.status()).run == 7


async def test_a_cancelled_request_is_not_mistaken_later(autojump_clock):
    board = Board()
    encoder = a_driver(board)
    await encoder.stop()
    board.silent = True
    with trio.move_on_after(0.1):
        await encoder.stop()
    board.silent = False
    board.say(board.held)
    board.answers[6] = b"\x86\0" + struct.pack("<BQQQB", 1, 2, 0, 2**64 - 1, 0)
    assert (await encoder.status()).run == 2


@pytest.mark.parametrize(
    "garbage", [struct.pack("<I", 16), struct.pack("<I", 4097), b"\xff" * 40, bytes(40)]
)
async def test_a_frame_that_cannot_be_ends_the_session(autojump_clock, garbage):
    board = Board()
    encoder = a_driver(board)
    await encoder.stop()
    board.say(garbage)
    with pytest.raises(BadReply):
        await encoder.stop()
    with pytest.raises(NoReply, match="the session is over"):
        await encoder.stop()


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x86", b"\x85\0", b"\x86\0", b"\x86\0" + bytes(25), b"\x86\0" + b"\x09" + bytes(25)],
)
async def test_a_garbled_status_is_a_bad_reply(answer):
    board = Board()
    board.answers[6] = answer
    with pytest.raises(BadReply):
        await a_driver(board).status()


@pytest.mark.parametrize("fields", [b"", b"\x05ab", b"\x01a\x01b", b"\x01a\x01b\x01c\x01d"])
async def test_a_garbled_identity_is_a_bad_reply(fields):
    board = Board()
    board.answers[1] = b"\x81\0" + fields
    with pytest.raises(BadReply, match="identity"):
        await a_driver(board).identity()


async def test_wrong_lengths_and_ranges_are_the_callers_fault():
    with pytest.raises(ValueError, match="32 bytes"):
        Qmse1(Board(), key=b"short", entropy=entropy)
    encoder = a_driver(Board())
    with pytest.raises(ValueError, match="32 bytes"):
        await encoder.load_seed(0, b"short")
    with pytest.raises(ValueError, match="does not fit"):
        await encoder.configure(
            EncoderPlan(-1, 1, 1, 1, 1, 1, 1, weak_ratio=math.nan, vacuum_ratio=0, ramp_frames=(1,))
        )
