"""Time tags as every driver of a time tagger returns them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class TagBlock:
    """Detection events in time order, all at or after those of the block before.

    Events of several channels in one tick stand beside each other with the same time.
    """

    times_ps: npt.NDArray[np.int64]
    """(n,) non-decreasing, ps of the tagger's own clock, counted from the start of acquisition."""

    channels: npt.NDArray[np.uint8]
    """(n,) input number, counted from 1 as on the front panel."""

    until_ps: int
    """The tagger has reported everything before this time: a dark channel ages too."""

    lost: bool = False
    """Events were lost somewhere before ``until_ps`` (overflow, slip): times may jump."""
