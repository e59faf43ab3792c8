"""Memory for intermediate results, kept from one use to the next."""

import numpy as np
import numpy.typing as npt


class Scratch:
    """Room for numbers that nobody reads after the call that wrote them: never for secrets.

    Above a few hundred kB the system gives fresh memory page by page, which costs more than what
    is then done with it.
    """

    def __init__(self) -> None:
        self._numbers = np.empty(0, np.int64)

    def room(self, n: int) -> npt.NDArray[np.int64]:
        """Return an (n,) array; what was returned before has no meaning from now on."""
        if self._numbers.size < n:
            self._numbers = np.empty(n, np.int64)
        return self._numbers[:n]

    def release(self) -> None:
        """Give the memory back."""
        self._numbers = np.empty(0, np.int64)
