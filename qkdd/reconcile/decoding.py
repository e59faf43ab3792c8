"""One frame at Bob: parities and likelihoods in, corrected bits out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits
from qkdd.kernels import ldpc
from qkdd.kernels.ldpc_graph import Graph
from qkdd.reconcile import tight
from qkdd.reconcile.codes import FRAME_BITS, ROUNDS, graph
from qkdd.reconcile.frames import Frame
from qkdd.reconcile.likelihood import SURE, steps, tables

Messages: TypeAlias = npt.NDArray[np.int8]

PATIENCE = 6
"""Passes without progress after which the next round is asked for: it goes on where this one
stopped. Fewer save time and spend key."""

LONG_PATIENCE = 8
LONG_PASSES = 5
"""A long frame is decoded from one end to the other: patience, and how many times the passes of
``max_iterations`` it may take."""

KEPT_BYTES, LONG_KEPT_BYTES = 24 << 20, 48 << 20
"""Messages kept for the next round, about 0.4 MB a frame, or 8 MB a long one: four batches in which
all frames fail, or five long frames. Beyond that a frame begins its next round anew, which takes
longer."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Kept:
    n_rows: int
    n_bytes: int
    """Of the room, what these rows have written to."""
    room: Messages

    def wipe(self) -> None:
        self.room[: self.n_bytes].fill(0)


class Decoder:
    """Decodes frames of one block.

    Between the rounds of a frame it keeps the messages of belief propagation, which tell where the
    errors are: they are wiped when the frame is done, or by :meth:`wipe`.
    """

    def __init__(
        self, qber_ppm: int, max_iterations: int, qber_by_intensity: Sequence[float] | None
    ) -> None:
        self._max_iterations = max_iterations
        by_intensity = qber_by_intensity or (qber_ppm * 1e-6,) * 3
        self._steps = np.array([steps(qber) for qber in by_intensity], np.int8)
        self._kept: dict[int, _Kept] = {}
        self._spare: list[Messages] = []
        """Rooms that are free again, all zeros where they were written to."""

    def __del__(self) -> None:
        self.wipe()  # a block may end with frames open

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
        padded = np.zeros(frame.code.n_bits, np.uint8)
        padded[: frame.size] = bits
        llr = np.full(frame.code.n_bits, SURE, np.int8)
        if (self._steps == self._steps[0]).all():
            llr[: frame.size] = self._steps[0]
        else:
            np.take(self._steps, intensities, out=llr[: frame.size], mode="clip")
        iterations, errors = self._decode(frame, rows, llr, ldpc.syndrome(rows, padded) ^ parities)
        padded ^= errors
        errors.fill(0)
        if iterations < 0 or padded[frame.size :].any():
            padded.fill(0)
            return None
        return padded[: frame.size]

    def _decode(
        self, frame: Frame, rows: Graph, llr: npt.NDArray[np.int8], target: Bits
    ) -> tuple[int, Bits]:
        """Go on where the round before gave up. After a wrong success there is nothing to keep."""
        table = tables()
        kept = self._kept.pop(frame.start, None)
        room = self._new_room(frame) if kept is None else kept.room
        messages = room[: rows.n_messages]
        long = rows.n_bits > FRAME_BITS
        iterations, errors = ldpc.decode(
            rows,
            llr,
            target,
            table.phi,
            table.inverse,
            table.near,
            self._max_iterations * (LONG_PASSES if long else 1),
            patience=LONG_PATIENCE if long else PATIENCE,
            messages=messages,
            warm_rows=kept.n_rows if kept is not None else 0,
            window=tight.window(rows) if long else None,
        )
        kept_bytes = sum(kept.n_bytes for kept in self._kept.values())
        if iterations < 0 and kept_bytes + messages.size <= (
            LONG_KEPT_BYTES if long else KEPT_BYTES
        ):
            self._kept[frame.start] = _Kept(rows.n_rows, messages.size, room)
        else:
            messages.fill(0)
            self._spare.append(room)
        return iterations, errors

    def _new_room(self, frame: Frame) -> Messages:
        """Return room for a frame's messages in all of its rounds.

        Memory that is new for each frame, and again for each round, costs as much as a pass or two
        of the decoder; what is never written to takes none.
        """
        assert frame.code is not None
        all_rows = graph(frame.code, 0, frame.code.rows_after(ROUNDS))
        while self._spare:
            room = self._spare.pop()
            if room.size >= all_rows.n_messages:
                return room
        return ldpc.new_messages(all_rows)

    def forget(self, frame: Frame) -> None:
        """Wipe what is kept of a frame that will not be decoded again."""
        kept = self._kept.pop(frame.start, None)
        if kept is not None:
            kept.wipe()

    def wipe(self) -> None:
        """Wipe what is kept of every frame."""
        for kept in self._kept.values():
            kept.wipe()
        self._kept.clear()
