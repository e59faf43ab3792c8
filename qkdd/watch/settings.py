"""What this receiver's light may look like: its own affair, no secret length depends on it."""

from typing import Annotated

import msgspec
from msgspec import Meta


class WatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits beyond which a block is thrown away, each on top of its statistical error."""

    alarms_per_year: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """False alarms of all monitors of this link together, at most: sets their thresholds."""
    balance_tolerance: Annotated[float, Meta(ge=0, le=0.5)] = 0.01
    """How far the share of ones in a basis may be from 1/2: half of the relative difference of the
    two detectors' efficiencies."""
    coincidence_tolerance: Annotated[float, Meta(ge=0, le=1)] = 0.10
    """Relative, of double and of cross clicks, against what the block's own rates predict."""
    weak_tolerance: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """Relative, of the weak pulses' clicks against what signal and vacuum predict: the sum of the
    mean photon numbers' uncertainties."""
    lowest_dark_hz: Annotated[float, Meta(ge=0)] = 0.0
    """Dark counts a second of all detectors together, at least; blinded ones have none. 0: not
    watched."""
