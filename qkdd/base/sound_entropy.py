"""Randomness that is tested before it is used: a source, its health tests, and a small store."""

import threading

from qkdd.base.entropy import Entropy
from qkdd.base.health import START_UP_SAMPLES, HealthTests

POOL_BYTES = 4_096
"""Small draws (nonces, key IDs, seeds) are served from so much, drawn and tested at once."""
ASSUMED_BITS_PER_BYTE = 4.0
"""The system's generator promises 8. With half of that as the claim the tests still stop one that
is stuck or has lost half of its bits, and honest bytes fail them by chance with 2^-80 each: at
1 MB/s less than once in 10^10 years."""


class SoundEntropy:
    """An :data:`Entropy` that fails for good once its source fails a health test.

    Called from the loop and from worker threads alike. What it hands out it forgets.
    """

    def __init__(
        self, draw: Entropy, name: str, bits_per_byte: float = ASSUMED_BITS_PER_BYTE
    ) -> None:
        """Pass the start-up test before anything else.

        Raises
        ------
        EntropyFailed
            The source failed it.
        """
        self._draw = draw
        self._tests = HealthTests(name, bits_per_byte)
        self._lock = threading.Lock()
        self._pool = bytearray()
        self._tests.take(draw(START_UP_SAMPLES))

    @property
    def failure(self) -> str | None:
        """Why it has failed, or None."""
        return self._tests.failure

    def __call__(self, n_bytes: int) -> bytes:
        """Return fresh bytes.

        Raises
        ------
        EntropyFailed
            The source failed a health test, now or before.
        """
        with self._lock:
            if n_bytes > POOL_BYTES or self._tests.failure is not None:
                return self._fresh(n_bytes)
            if n_bytes > len(self._pool):
                self._wipe()
                self._pool = bytearray(self._fresh(POOL_BYTES))
            start = len(self._pool) - n_bytes
            taken = bytes(memoryview(self._pool)[start:])
            self._pool[start:] = bytes(n_bytes)
            del self._pool[start:]
            return taken

    def _fresh(self, n_bytes: int) -> bytes:
        drawn = self._draw(n_bytes)
        try:
            self._tests.take(drawn)
        except BaseException:
            self._wipe()
            raise
        return drawn

    def _wipe(self) -> None:
        self._pool[:] = bytes(len(self._pool))
        self._pool.clear()
