"""A frame of several windows: clicks in order, settled once, and nothing of them left behind."""

import numpy as np

from qkdd.frames.assembly import FrameAssembly
from qkdd.frames.clicks import ClickSettler, Settled
from qkdd.kernels.assign import Assigned
from tests.frames.synthetic_light import SMALL

FRAME = 3


def window(slots: list[int], masks: list[int], *, n_out_of_gate: int, n_dead: int) -> Assigned:
    return Assigned(
        n_tags=len(slots),
        slots=np.array(slots, np.uint32),
        masks=np.array(masks, np.uint8),
        last_ps=0,
        n_started=len(slots),
        n_near=len(slots),
        sum_residual_ps=0,
        n_out_of_gate=n_out_of_gate,
        n_dead=n_dead,
    )


class Watched(ClickSettler):
    """Keeps what it was given, to look at later."""

    def settle(self, masks: np.ndarray) -> Settled:
        self.masks = masks
        return super().settle(masks)


def test_windows_become_one_frame_whose_odd_clicks_are_counted_by_kind() -> None:
    assembly = FrameAssembly(SMALL, ClickSettler(lambda n: b"\x03" * n))
    first = SMALL.frame_span(FRAME).start
    assembly.add(first + 100, FRAME, window([0, 7], [1, 3], n_out_of_gate=1, n_dead=2))
    assembly.add(first + 200, FRAME, window([1, 2, 3], [5, 8, 12], n_out_of_gate=3, n_dead=4))
    assembly.add(first + 300, FRAME, window([9], [3], n_out_of_gate=0, n_dead=0))
    frame = assembly.ended(FRAME)
    assert frame.slots.tolist() == [100, 107, 201, 202, 203, 309]
    assert frame.detectors.tolist() == [0, 1, 2, 3, 3, 1]  # by dice of the test basis and bit 1
    assert (frame.n_double, frame.n_cross) == (3, 1)
    assert (frame.n_out_of_gate, frame.n_dead) == (4, 6)


def test_of_an_ended_frame_no_outcome_stays_in_what_was_gathered() -> None:
    settler = Watched(lambda n: bytes(n))
    assembly = FrameAssembly(SMALL, settler)
    windows = [window([1, 2], [1, 8], n_out_of_gate=0, n_dead=0) for _ in range(2)]
    first = SMALL.frame_span(FRAME).start
    for number, one in enumerate(windows):
        assembly.add(first + 1_000 * number, FRAME, one)
    frame = assembly.ended(FRAME)
    assert frame.detectors.tolist() == [0, 3, 0, 3]
    for array in (settler.masks, *(one.masks for one in windows), *(one.slots for one in windows)):
        assert not array.any()


def test_of_a_frame_that_is_given_up_nothing_stays() -> None:
    assembly = FrameAssembly(SMALL, ClickSettler(lambda n: bytes(n)))
    one = window([1, 2], [1, 8], n_out_of_gate=0, n_dead=0)
    assembly.add(SMALL.frame_span(FRAME).start, FRAME, one)
    assembly.wipe()
    assert not one.masks.any()
    assert not one.slots.any()
