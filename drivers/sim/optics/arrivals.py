"""Which pulses have an event: a Poisson process that goes on from one stretch to the next."""

import math

import numpy as np
import numpy.typing as npt

from drivers.kernels import arrivals as kernel

MARGIN_SIGMAS = 5.0  # words thrown above the mean, so that one call is nearly always enough


class Arrivals:
    """The candidates of one link, each with the word of the dice that brought it.

    What is left of the gap before the next one is kept in means, so that a rate may change in the
    middle of a gap.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._throw = rng.bit_generator.random_raw
        self._words: npt.NDArray[np.uint64] = self._throw(1)
        self._at = kernel.first_gap(int(self._words[0]))

    def draw(
        self, n_pulses: int, per_pulse: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Pulses of independent events, ``per_pulse`` > 0 on average in each.

        Returns
        -------
        pulses : (n,) int64, non-decreasing, 0 <= i < n_pulses
            A pulse stands here once for each of its events.
        words : (n,) uint64
            A throw for each, of which the lower 32 bits are still free.
        """
        end = per_pulse * n_pulses
        pulses, words = self._go_on(n_pulses, per_pulse)
        while self._at < end:  # the words ran out: some one in a million times
            more = self._go_on(n_pulses, per_pulse)
            pulses, words = np.concatenate((pulses, more[0])), np.concatenate((words, more[1]))
        self._at -= end
        return pulses, words

    def _go_on(
        self, n_pulses: int, per_pulse: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        left = max(0.0, per_pulse * n_pulses - self._at)
        n_words = int(left + MARGIN_SIGMAS * math.sqrt(left)) + 3
        if self._words.size < n_words:
            self._words = np.concatenate((self._words, self._throw(n_words - self._words.size)))
        pulses, self._at = kernel.place(
            self._words, at=self._at, per_pulse=per_pulse, n_pulses=n_pulses
        )
        words, self._words = self._words[: pulses.size], self._words[pulses.size :]
        return pulses, words
