"""The sealed byte stream of docs/encoder-protocol.md, the board's side of it."""

from collections.abc import Callable
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Entropy: TypeAlias = Callable[[int], bytes]

MAGIC = b"QMSE"
VERSION = 2
HELLO_BYTES = 24
NONCE_BYTES = 16
MIN_SEALED_BYTES = 17
MAX_SEALED_BYTES = 4096


class Closed(Exception):
    """The board ends this connection; ``last_words`` are what it still says before."""

    def __init__(self, why: str, last_words: bytes = b"") -> None:
        super().__init__(why)
        self.last_words = last_words


class SealedStream:
    """HELLO --24 bytes--> OPEN; bytes in any chunks, payloads out."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        if len(key) != 32:
            raise ValueError(f"a board key has 32 bytes, not {len(key)}")
        self._board_key = key
        self._entropy = entropy
        self._buffer = bytearray()
        self._from_host: AESGCM | None = None
        self._to_host: AESGCM | None = None
        self._n_received = 0
        self._n_sent = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def hello(self) -> bytes:
        """The board's answer to the host's hello, once that is complete; else nothing.

        Raises
        ------
        Closed
            If the host does not speak this protocol or this version.
        """
        if self._from_host is not None or len(self._buffer) < HELLO_BYTES:
            return b""
        hello = bytes(self._buffer[:HELLO_BYTES])
        del self._buffer[:HELLO_BYTES]
        if hello[:4] != MAGIC:
            raise Closed(f"not a host: {hello[:4]!r} in place of {MAGIC!r}")
        nonce = self._entropy(NONCE_BYTES)
        answer = MAGIC + bytes([VERSION, 0, 0, 0]) + nonce
        if hello[4] != VERSION:
            raise Closed(f"the host speaks version {hello[4]}, not {VERSION}", answer)
        if any(hello[5:8]):
            raise Closed(f"reserved bytes {hello[5:8].hex()} are not 0")
        derive = HKDF(SHA256(), length=64, salt=hello[8:] + nonce, info=b"QMSE-1")
        keys = derive.derive(self._board_key)
        self._from_host, self._to_host = AESGCM(keys[:32]), AESGCM(keys[32:])
        return answer

    def next_payload(self) -> bytes | None:
        """The next payload from the host, None while it is incomplete.

        Raises
        ------
        Closed
            If a length is out of range or a frame does not open.
        """
        if self._from_host is None or len(self._buffer) < 4:
            return None
        length_field = bytes(self._buffer[:4])
        length = int.from_bytes(length_field, "little")
        if not MIN_SEALED_BYTES <= length <= MAX_SEALED_BYTES:
            raise Closed(f"{length} sealed bytes are outside {MIN_SEALED_BYTES}..4096")
        if len(self._buffer) < 4 + length:
            return None
        sealed = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        nonce = self._n_received.to_bytes(12, "little")
        self._n_received += 1
        try:
            return self._from_host.decrypt(nonce, sealed, length_field)
        except InvalidTag as error:
            raise Closed(f"frame {self._n_received - 1} of the host does not open") from error

    def seal(self, payload: bytes) -> bytes:
        """One frame to the host."""
        assert self._to_host is not None, "no frame before the hello"
        length_field = (len(payload) + 16).to_bytes(4, "little")
        nonce = self._n_sent.to_bytes(12, "little")
        self._n_sent += 1
        return length_field + self._to_host.encrypt(nonce, payload, length_field)
