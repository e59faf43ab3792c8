"""The two ends of reconciliation by the agreed method; what follows does not know which it was."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits
from qkdd.base.entropy import Entropy
from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.cascade_alice import CascadeAlice
from qkdd.reconcile.cascade_bob import CascadeBob
from qkdd.reconcile.messages import (
    BlockHash,
    BlockVerdict,
    Checks,
    Differences,
    Parities,
    Revealed,
    Syndromes,
    Verdicts,
)
from qkdd.reconcile.settings import ReconcileSettings

OF_BOB = {"ldpc": (Verdicts, BlockVerdict), "cascade": (Differences, Verdicts, BlockVerdict)}
OF_ALICE = {
    "ldpc": (Syndromes, Revealed, BlockHash),
    "cascade": (Parities, Checks, Revealed, BlockHash),
}
"""What each end says, by method: what the other one waits for."""


def alice_end(
    block_no: int,
    bits: Bits,
    intensities: npt.NDArray[np.uint8],
    qber_estimate: float,
    settings: ReconcileSettings,
    entropy: Entropy,
) -> AliceReconciler | CascadeAlice:
    """Return Alice's machine; see :class:`AliceReconciler`."""
    kind = CascadeAlice if settings.method == "cascade" else AliceReconciler
    return kind(block_no, bits, intensities, qber_estimate, settings, entropy)


def bob_end(
    block_no: int,
    bits: Bits,
    intensities: npt.NDArray[np.uint8],
    settings: ReconcileSettings,
    qber_by_intensity: Sequence[float] | None = None,
) -> BobReconciler | CascadeBob:
    """Return Bob's machine; see :class:`BobReconciler`."""
    kind = CascadeBob if settings.method == "cascade" else BobReconciler
    return kind(block_no, bits, intensities, settings, qber_by_intensity)
