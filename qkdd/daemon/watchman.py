"""Holds each block of a receiver against its monitors."""

import structlog

from qkdd.base.counts import DecoyCounts
from qkdd.base.light import Intensities, LightPlan
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.status import LinkStatus
from qkdd.frames.settings import FrameSettings
from qkdd.watch.monitors import alarms
from qkdd.watch.settings import WatchSettings
from qkdd.watch.sight import Tally

log = structlog.get_logger(__name__)


class Watchman:
    """One receiver's; keeps nothing from block to block."""

    def __init__(
        self,
        plan: LightPlan,
        intensities: Intensities,
        frames: FrameSettings,
        settings: WatchSettings,
        status: LinkStatus,
        *,
        max_qber: float,
    ) -> None:
        """``max_qber``: above it no block makes a key, whatever the monitors say."""
        self._max_qber = max_qber
        self._plan = plan
        self._intensities = intensities
        self._frames = frames
        self._settings = settings
        self._status = status
        frame_s = plan.frame_pulses / plan.pulse_rate_hz
        self._shortest_block_s = min(plan.ramp_frames) * frame_s

    def judge(self, tally: Tally, counts: DecoyCounts, index: int) -> None:
        """Return if all is well with block ``index`` of its run, as far as ``counts`` go.

        Raises
        ------
        BlockGone
            A monitor speaks; the operator of this end hears which. The peer hears that it did,
            but no number: they come of raw outcomes.
        """
        n_pulses = self._plan.payload_pulses(index)
        sight = tally.sight(
            counts,
            n_pulses=n_pulses,
            seconds=n_pulses / self._plan.pulse_rate_hz,
            gate_share=min(1.0, self._frames.gate_ps / self._plan.period_ps),
            dead_time_s=self._frames.dead_time_ps * 1e-12,
        )
        found = alarms(
            sight, self._intensities, self._settings, shortest_block_s=self._shortest_block_s
        )
        self._status.watched(found)
        if not found:
            return
        log.error("a monitor speaks: block thrown away", monitors=found)
        if counts.qber_test > self._max_qber:  # the simpler reason of the two
            raise BlockGone(
                f"QBER {counts.qber_test:.4f} in the test basis is over {self._max_qber:g}, and a "
                "monitor of the receiver spoke"
            )
        raise BlockGone("a monitor of the receiver spoke: " + found[0].partition(":")[0])
