"""Health tests of an entropy source's raw samples, as NIST SP 800-90B asks for (4.3 and 4.4).

Both tests look at bytes, each one sample of at least ``min_entropy_bits``. They notice a source
that is stuck, or that has lost much of its entropy; they cannot tell good randomness from what a
liar makes up.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qkdd.base.errors import EntropyFailed

Samples: TypeAlias = npt.NDArray[np.uint8]

ALPHA_LOG2 = -40
"""Chance of a false alarm per test, log2: the low end of what SP 800-90B recommends (4.4)."""
WINDOW_SAMPLES = 512
"""Of the adaptive proportion test, for samples of more than one bit (4.4.2)."""
START_UP_SAMPLES = 4_096
"""Tested and thrown away before the first use; at least 1024 (4.3, requirement 4)."""


def repetition_cutoff(min_entropy_bits: float, alpha_log2: int = ALPHA_LOG2) -> int:
    """Return how many equal samples in a row are too many (SP 800-90B, 4.4.1)."""
    return 1 + math.ceil(-alpha_log2 / min_entropy_bits)


def proportion_cutoff(min_entropy_bits: float, alpha_log2: int = ALPHA_LOG2) -> int:
    """Return how often a window's first sample may not come in it (SP 800-90B, 4.4.2).

    The smallest count that a source of just H bits reaches with a chance of at most alpha. The
    first sample counts itself, so that only the others are binomial with 2^-H; a cutoff above the
    window would be a test that cannot fail.
    """
    chance = 2.0**-min_entropy_bits
    tail = 0.0
    for others in range(WINDOW_SAMPLES - 1, -1, -1):
        tail += math.exp(_log_binomial(WINDOW_SAMPLES - 1, others, chance))
        if tail > 2.0**alpha_log2:
            return min(others + 2, WINDOW_SAMPLES)
    raise AssertionError("a chance of at least one that anything happens")


def _log_binomial(n: int, k: int, chance: float) -> float:
    """Log of the chance of exactly ``k`` of ``n``."""
    if chance >= 1.0:
        return 0.0 if k == n else -math.inf
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return choose + k * math.log(chance) + (n - k) * math.log1p(-chance)


class HealthTests:
    """Both tests over one endless stream of samples; once they have failed, they stay so."""

    def __init__(self, source: str, min_entropy_bits: float) -> None:
        """``source`` is the name for messages; ``min_entropy_bits`` per byte, over 0 up to 8.

        Raises
        ------
        ValueError
            If a byte cannot have that much entropy.
        """
        if not 0.0 < min_entropy_bits <= 8.0:
            raise ValueError(f"{min_entropy_bits} bits of entropy in a byte, must be over 0 to 8")
        self.n_samples = 0
        self.failure: str | None = None
        self._source = source
        self._max_run = repetition_cutoff(min_entropy_bits)
        self._max_count = proportion_cutoff(min_entropy_bits)
        self._tail = np.empty(0, np.uint8)
        """The last samples, as many as can begin a run that goes on."""
        self._first = -1
        self._seen = 0
        self._count = 0

    @property
    def passed_start_up(self) -> bool:
        return self.failure is None and self.n_samples >= START_UP_SAMPLES

    def take(self, samples: bytes) -> None:
        """Test the next samples.

        Raises
        ------
        EntropyFailed
            A test failed, now or before.
        """
        if self.failure is None:
            array = np.frombuffer(samples, np.uint8)
            self.failure = self._repetition(array) or self._proportion(array)
            self.n_samples += array.size
        if self.failure is not None:
            raise EntropyFailed(self.failure)

    def _repetition(self, samples: Samples) -> str | None:
        if not samples.size:
            return None
        joined = np.concatenate((self._tail, samples))
        equal = np.flatnonzero(joined[1:] == joined[:-1])  # rare, in a source that is well
        ends = np.flatnonzero(np.diff(equal, append=joined.size) != 1)
        longest = 1 + int(np.diff(ends, prepend=-1).max(initial=0))
        self._tail = joined[-self._max_run + 1 :].copy()
        if longest < self._max_run:
            return None
        return (
            f"entropy source {self._source}: {longest} equal samples in a row, limit "
            f"{self._max_run - 1} (repetition count test): it is stuck or broken"
        )

    def _proportion(self, samples: Samples) -> str | None:
        """Finish the window that is open, take whole ones at once, and open the next."""
        head = (WINDOW_SAMPLES - self._seen) % WINDOW_SAMPLES
        counts = [self._grow(samples[:head])]
        whole = (samples.size - min(head, samples.size)) // WINDOW_SAMPLES
        windows = samples[head : head + whole * WINDOW_SAMPLES].reshape(whole, WINDOW_SAMPLES)
        counts += (windows == windows[:, :1]).sum(axis=1).tolist()
        counts.append(self._grow(samples[head + whole * WINDOW_SAMPLES :]))
        if max(counts) < self._max_count:
            return None
        return (
            f"entropy source {self._source}: one value {max(counts)} times in {WINDOW_SAMPLES} "
            f"samples, limit {self._max_count - 1} (adaptive proportion test): it has lost entropy"
        )

    def _grow(self, part: Samples) -> int:
        """Add ``part`` to the window, which it does not overfill; return the window's count."""
        if part.size and not self._seen:
            self._first = int(part[0])
        self._seen += part.size
        self._count += int(np.count_nonzero(part == self._first))
        count = self._count
        if self._seen == WINDOW_SAMPLES:
            self._seen = self._count = 0
        return count
