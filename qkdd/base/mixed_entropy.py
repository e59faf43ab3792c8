"""Randomness of two sources together: the system's, and a noise source that feeds a generator.

    output = system XOR AES-256-CTR(key)

The key changes with every call (fast key erasure) and with every 512 bits of assessed entropy that
the noise source gives. Whoever knows one of the two sources knows nothing of the output.
"""

import hashlib
import threading

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from qkdd.base.entropy import Entropy
from qkdd.base.errors import EntropyFailed
from qkdd.base.health import HealthTests
from qkdd.base.secret import Secret

KEY_BYTES = 32
ENTROPY_PER_KEY_BITS = 512
"""Twice the key's length: SHA-256 of so much is as good as full entropy (SP 800-90C asks for 64
bits more than the output)."""


class MixedEntropy:
    """An :data:`Entropy` that answers only while its noise source is healthy.

    Called from the loop and from worker threads alike; one task feeds it.
    """

    def __init__(self, system: Entropy, name: str, bits_per_byte: float) -> None:
        """``bits_per_byte``: the assessed min-entropy of the noise source's raw bytes."""
        self._system = system
        self._name = name
        self._bits_per_byte = bits_per_byte
        self._tests = HealthTests(name, bits_per_byte)
        self._lock = threading.Lock()
        self._key = Secret(KEY_BYTES)
        self._gathered = hashlib.sha256()
        self._gathered_bits = 0.0
        self._failure: str | None = f"entropy source {name}: its start-up test is not done"

    @property
    def failure(self) -> str | None:
        """Why nothing is to be had, or None."""
        return self._failure

    def begin(self) -> None:
        """The source is opened (again): it must pass its start-up test before it counts."""
        with self._lock:
            self._tests = HealthTests(self._name, self._bits_per_byte)
            self._gathered = hashlib.sha256()
            self._gathered_bits = 0.0

    def lost(self, reason: str) -> None:
        """The source is gone: nothing more until it has passed a new start-up test."""
        self._failure = f"entropy source {self._name}: {reason}"

    def feed(self, raw: bytes) -> None:
        """Take raw noise; those of the start-up test are tested and thrown away.

        Raises
        ------
        EntropyFailed
            The source failed a health test.
        """
        with self._lock:
            started = self._tests.passed_start_up
            try:
                self._tests.take(raw)
            except EntropyFailed as failed:
                self._failure = str(failed)
                raise
            if not started:
                return
            self._gathered.update(raw)
            self._gathered_bits += self._bits_per_byte * len(raw)
            if self._gathered_bits >= ENTROPY_PER_KEY_BITS:
                self._rekey()

    def _rekey(self) -> None:
        fresh = hashlib.sha256(bytes(self._key.reveal()) + self._gathered.digest()).digest()
        self._key.reveal()[:] = fresh
        self._gathered = hashlib.sha256()
        self._gathered_bits = 0.0
        self._failure = None

    def __call__(self, n_bytes: int) -> bytes:
        """Return fresh bytes.

        Raises
        ------
        EntropyFailed
            One of the two sources has failed, or the noise source is not (yet) there.
        """
        with self._lock:
            if self._failure is not None:
                raise EntropyFailed(self._failure)
            stream = self._stream(n_bytes)
        system = np.frombuffer(self._system(n_bytes), np.uint8)
        return (np.frombuffer(stream, np.uint8) ^ system).tobytes()

    def _stream(self, n_bytes: int) -> memoryview:
        """Next bytes of the generator; the key that made them is gone before they are used."""
        cipher = Cipher(algorithms.AES(self._key.reveal()), modes.CTR(bytes(16)))
        stream = cipher.encryptor().update(bytes(KEY_BYTES + n_bytes))
        self._key.reveal()[:] = stream[:KEY_BYTES]
        return memoryview(stream)[KEY_BYTES:]
