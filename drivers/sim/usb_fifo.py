"""The way out of a USB instrument: a FIFO of bytes that leaves in packets of 512."""

from collections import deque

PACKET_BYTES = 512  # bulk packets of high-speed USB
WORD_BYTES = 4


class UsbFifo:
    """Words wait until they fill a packet, or until someone forces a short one.

    Words that find the FIFO full are lost and ``overflow`` is set; a text reply always fits and
    takes everything before it along.
    """

    def __init__(self, capacity_words: int) -> None:
        self.overflow = False
        self._capacity_bytes = capacity_words * WORD_BYTES
        self._chunks: deque[memoryview] = deque()
        self._held_bytes = 0
        self._ready_bytes = 0

    def put_words(self, words: memoryview) -> None:
        """Queue whole words, as many as fit; ``words`` is kept, not copied."""
        room = (self._capacity_bytes - self._held_bytes) // WORD_BYTES * WORD_BYTES
        if words.nbytes > room:
            self.overflow = True
            words = words[: max(0, room)]
        self._put(words)
        whole = (self._held_bytes - self._ready_bytes) // PACKET_BYTES
        self._ready_bytes += whole * PACKET_BYTES

    def put_text(self, text: bytes) -> None:
        self._put(memoryview(text))
        self.flush()

    def flush(self) -> None:
        """Let everything out, the last packet a short one."""
        self._ready_bytes = self._held_bytes

    def clear(self) -> None:
        self._chunks.clear()
        self._held_bytes = self._ready_bytes = 0
        self.overflow = False

    def pending(self) -> memoryview:
        """All that may leave now, in one piece: system calls cost more than copies."""
        if not self._ready_bytes:
            return memoryview(b"")
        if self._chunks[0].nbytes < self._ready_bytes:
            self._chunks = deque([memoryview(b"".join(self._chunks))])
        return self._chunks[0][: self._ready_bytes]

    def sent(self, n_bytes: int) -> None:
        """The host took the first ``n_bytes`` of :meth:`pending`."""
        first = self._chunks[0]
        assert n_bytes <= min(self._ready_bytes, first.nbytes), "more taken than was there"
        self._held_bytes -= n_bytes
        self._ready_bytes -= n_bytes
        if n_bytes == first.nbytes:
            self._chunks.popleft()
        else:
            self._chunks[0] = first[n_bytes:]

    def _put(self, data: memoryview) -> None:
        if data.nbytes:
            self._chunks.append(data)
            self._held_bytes += data.nbytes
