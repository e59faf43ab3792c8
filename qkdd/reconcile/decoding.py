"""One frame at Bob: parities and likelihoods in, corrected bits out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits
from qkdd.kernels import ldpc
from qkdd.reconcile.codes import FRAME_BITS, graph
from qkdd.reconcile.frames import Frame
from qkdd.reconcile.likelihood import SURE, steps, tables


class Decoder:
    """Decodes frames of one block; holds no bits between calls."""

    def __init__(
        self, qber_ppm: int, max_iterations: int, qber_by_intensity: Sequence[float] | None
    ) -> None:
        self._max_iterations = max_iterations
        by_intensity = qber_by_intensity or (qber_ppm * 1e-6,) * 3
        self._steps = np.array([steps(qber) for qber in by_intensity], np.int8)

    def correct(
        self,
        frame: Frame,
        round_no: int,
        bits: Bits,
        intensities: npt.NDArray[np.uint8],
        parities: Bits,
    ) -> Bits | None:
        """Return Alice's bits as far as her ``parities`` tell, or None if decoding failed."""
        assert frame.code is not None
        rows = graph(frame.code, 0, frame.code.rows_after(round_no))
        padded = np.zeros(FRAME_BITS, np.uint8)
        padded[: frame.size] = bits
        llr = np.full(FRAME_BITS, SURE, np.int8)
        np.take(self._steps, intensities, out=llr[: frame.size], mode="clip")
        table = tables()
        iterations, errors = ldpc.decode(
            rows,
            llr,
            ldpc.syndrome(rows, padded) ^ parities,
            table.phi,
            table.inverse,
            self._max_iterations,
        )
        padded ^= errors
        errors.fill(0)
        if iterations < 0 or padded[frame.size :].any():
            padded.fill(0)
            return None
        return padded[: frame.size]
