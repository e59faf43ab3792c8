"""A line with a rate: what an instrument says leaves byte by byte, so that a read gets a part."""


class PacedLine:
    """Bytes that wait for their turn; time that passes while nothing waits is not saved up."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._waiting = bytearray()
        self._credit_bytes = 0.0

    @property
    def waiting_bytes(self) -> int:
        return len(self._waiting)

    def put(self, data: bytes) -> None:
        self._waiting += data

    def clear(self) -> None:
        self._waiting.clear()
        self._credit_bytes = 0.0

    def advance(self, dt_s: float) -> bytes:
        """What leaves in the next ``dt_s``."""
        if not self._waiting:
            return b""
        self._credit_bytes += dt_s * self._bytes_per_s
        n_bytes = min(int(self._credit_bytes), len(self._waiting))
        sent = bytes(self._waiting[:n_bytes])
        del self._waiting[:n_bytes]
        self._credit_bytes = self._credit_bytes - n_bytes if self._waiting else 0.0
        return sent
