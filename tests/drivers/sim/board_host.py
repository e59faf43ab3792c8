"""A host of the state encoder, written from docs/encoder-protocol.md for the simulated board."""

import hashlib
import itertools
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drivers.sim.state_encoder import StateEncoder

KEY = hashlib.sha256(b"board").digest()
HOST_NONCE = bytes(range(16))
BOARD_NONCE = bytes(range(16, 32))
S = 1_000_000_000
MS = 1_000_000
NONE = (1 << 64) - 1
RATE_HZ = 1_000_000
PREAMBLE, FRAME, CALIBRATION = 100_000, 200_000, 1_000  # 0.1 s, 0.2 s at 1 MHz


def seed_of(block: int) -> bytes:
    return hashlib.sha256(block.to_bytes(8, "little")).digest()


def configuration(**changes: object) -> bytes:
    values: dict[str, object] = {
        "rate": RATE_HZ,
        "preamble": PREAMBLE,
        "frame": FRAME,
        "calibration": CALIBRATION,
        "key": 27_525,
        "signal": 42_598,
        "weak": 19_005,
        "weak_ratio": 0.38,
        "vacuum_ratio": 0.002,
        "ramp": (1, 2),
    } | changes
    *fields, ramp = values.values()
    return struct.pack("<QIIIHHHddB", *fields, len(ramp)) + struct.pack(f"<{len(ramp)}H", *ramp)


@dataclass
class Host:
    """The other side, from the document."""

    key: bytes = KEY
    board: StateEncoder = field(
        default_factory=lambda: StateEncoder(KEY, lambda n: BOARD_NONCE[:n])
    )
    now_ns: int = 0

    def hello(self) -> None:
        self.board.connected()
        asked = b"QMSE\x02\x00\x00\x00" + HOST_NONCE
        answer = self.board.receive(asked, self.now_ns)
        assert answer == b"QMSE\x02\x00\x00\x00" + BOARD_NONCE
        salt = HOST_NONCE + BOARD_NONCE
        keys = HKDF(SHA256(), length=64, salt=salt, info=b"QMSE-1").derive(self.key)
        self._to_board, self._to_host = AESGCM(keys[:32]), AESGCM(keys[32:])
        self._sent, self._heard = itertools.count(), itertools.count()

    def sealed(self, payload: bytes) -> bytes:
        length = struct.pack("<I", len(payload) + 16)
        return length + self._to_board.encrypt(self._nonce(self._sent), payload, length)

    def opened(self, frames: bytes) -> list[bytes]:
        payloads = []
        while frames:
            length = int.from_bytes(frames[:4], "little")
            sealed, head, frames = frames[4 : 4 + length], frames[:4], frames[4 + length :]
            payloads.append(self._to_host.decrypt(self._nonce(self._heard), sealed, head))
        return payloads

    def ask(self, opcode: int, fields: bytes = b"") -> bytes:
        """Fields of the answer to a request that is done."""
        status, rest = self.try_(opcode, fields)
        assert status == 0, rest
        return rest

    def try_(self, opcode: int, fields: bytes = b"") -> tuple[int, bytes]:
        frames = self.board.receive(self.sealed(bytes([opcode]) + fields), self.now_ns)
        (answer,) = self.opened(frames)
        assert answer[0] == opcode | 0x80
        return answer[1], answer[2:]

    def status(self) -> tuple[int, int, int, int, int]:
        return struct.unpack("<BQQQB", self.ask(6))

    def load(self, block: int) -> int:
        return self.try_(3, struct.pack("<Q", block) + seed_of(block))[0]

    def wait(self, n_ns: int) -> None:
        """Let time pass as a lab does, in steps of 10 ms."""
        end_ns = self.now_ns + n_ns
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, self.now_ns + 10 * MS)
            self.board.advance(self.now_ns)

    @staticmethod
    def _nonce(counter: "itertools.count[int]") -> bytes:
        return next(counter).to_bytes(12, "little")


def a_host(*, blocks: int = 0, running: bool = False) -> Host:
    host = Host()
    host.hello()
    if blocks or running:
        host.ask(2, configuration())
        assert [host.load(block) for block in [NONE, *range(blocks)]] == [0] * (blocks + 1)
    if running:
        host.ask(4, struct.pack("<Q", 77))
    return host


def is_dark(host: Host) -> bool:
    seeds = host.board.light.seeds
    return (
        host.board.light.emitting(host.now_ns + S) == 0
        and host.board.light.take(host.now_ns + S) is None
        and seeds.calibration is None
        and not seeds.blocks
    )
