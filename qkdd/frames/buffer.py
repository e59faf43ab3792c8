"""A bounded queue of detection events, in time order."""

import numpy as np
import numpy.typing as npt

MAX_TAGS = 1_000_000
"""9 MB. The brightest light that can lock fills a quarter of it while its start is sought."""


class TagBuffer:
    """Events come in behind and leave in front; all of it can be seen as two arrays."""

    def __init__(self) -> None:
        self._times_ps = np.empty(1 << 14, np.int64)
        self._detectors = np.empty(1 << 14, np.uint8)
        self._start = 0
        self._stop = 0

    @property
    def times_ps(self) -> npt.NDArray[np.int64]:
        """(n,) int64, a view that is good until the next append."""
        return self._times_ps[self._start : self._stop]

    @property
    def detectors(self) -> npt.NDArray[np.uint8]:
        """(n,) uint8, a view that is good until the next append."""
        return self._detectors[self._start : self._stop]

    def __len__(self) -> int:
        return self._stop - self._start

    def append(self, times_ps: npt.NDArray[np.int64], detectors: npt.NDArray[np.uint8]) -> None:
        """Add events behind; the caller keeps the whole below ``MAX_TAGS``."""
        n_tags = len(self) + times_ps.size
        if self._start > len(self):  # little to move, and the arrays stay in the cache
            self._move(self._times_ps.size)
        if self._stop + times_ps.size > self._times_ps.size:
            self._move(max(self._times_ps.size, 1 << (2 * n_tags - 1).bit_length()))
        self._times_ps[self._stop : self._stop + times_ps.size] = times_ps
        self._detectors[self._stop : self._stop + times_ps.size] = detectors
        self._stop += times_ps.size

    def drop(self, n_tags: int) -> None:
        """Forget the first ``n_tags`` events."""
        assert 0 <= n_tags <= len(self)
        self._start += n_tags

    def before(self, time_ps: int) -> int:
        """Return how many events came before ``time_ps``."""
        return int(np.searchsorted(self.times_ps, time_ps))

    def wipe(self) -> None:
        """Empty it and zero what it held."""
        self._times_ps.fill(0)
        self._detectors.fill(0)
        self._start = self._stop = 0

    def _move(self, capacity: int) -> None:
        """Put the events in front, in arrays of ``capacity``; what they leave is zeroed."""
        size = len(self)
        if capacity == self._times_ps.size:
            self._times_ps[:size], self._detectors[:size] = self.times_ps, self.detectors
            self._times_ps[size : self._stop].fill(0)
            self._detectors[size : self._stop].fill(0)
            self._start, self._stop = 0, size
            return
        times_ps = np.empty(capacity, np.int64)
        detectors = np.empty(capacity, np.uint8)
        times_ps[:size], detectors[:size] = self.times_ps, self.detectors
        self.wipe()
        self._times_ps, self._detectors, self._stop = times_ps, detectors, size
