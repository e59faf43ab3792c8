"""The receiver of the light: tags in, frames out; idle, hunting for a run, or tracking one."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from drivers.tags import TagBlock
from qkdd.base.entropy import Entropy
from qkdd.base.light import LightPlan
from qkdd.frames.buffer import MAX_TAGS, TagBuffer
from qkdd.frames.clicks import ClickSettler
from qkdd.frames.events import Event, Lost
from qkdd.frames.hunter import Found, Hunter
from qkdd.frames.settings import FrameSettings, check_light
from qkdd.frames.start import CalibrationStates
from qkdd.frames.tracker import Tracker
from qkdd.kernels.assign import NO_DETECTOR, detectors_of, in_order

INLINE_TAGS = 1 << 16
"""More than a tagger's pause brings. To take them up while a run is tracked takes some 3 ms."""
TAGS_AT_ONCE = 1 << 16
"""A longer TagBlock is taken in pieces: memory does not depend on how the tagger reads."""


class LightReceiver:
    """IDLE --hunt--> HUNTING --preamble found--> TRACKING; Lost or stop lead back to IDLE.

    The events do not depend on how the tags are cut into blocks.
    """

    def __init__(
        self,
        plan: LightPlan,
        settings: FrameSettings,
        detectors: Mapping[int, int],
        entropy: Entropy,
        *,
        any_turn: bool = False,
    ) -> None:
        """``any_turn``: take up a run whose polarisation is turned; somebody will turn it back."""
        self._any_turn = any_turn
        _check(plan, settings, detectors)
        self._plan = plan
        self._settings = settings
        self._detector_of = np.full(256, NO_DETECTOR, np.uint8)
        for channel, detector in detectors.items():
            self._detector_of[channel] = detector
        self._settler = ClickSettler(entropy)
        self._buffer = TagBuffer()
        self._states: CalibrationStates | None = None
        self._hunter: Hunter | None = None
        self._tracker: Tracker | None = None
        self._reported_ps: int | None = None

    @property
    def active(self) -> bool:
        """Hunting or tracking: tags are looked at."""
        return self._hunter is not None or self._tracker is not None

    @property
    def tracking(self) -> bool:
        """A run has been found."""
        return self._tracker is not None

    def takes_long(self, tags: TagBlock) -> bool:
        """Tell whether to feed these may take long, for how many they are or what is sought."""
        if tags.times_ps.size > INLINE_TAGS:
            return True
        return self._hunter is not None and not self._hunter.is_dark(tags.times_ps)

    def hunt(self, calibration_states: CalibrationStates) -> None:
        """A new run is about to start: look for it in the tags from now on."""
        self.stop()
        self._states = calibration_states
        self._hunter = Hunter(
            self._plan, self._settings, calibration_states, self._buffer, any_turn=self._any_turn
        )

    def is_being_turned(self, now: bool) -> None:
        """Say whether somebody looks for the tracked light's polarisation, by large turns."""
        if self._tracker is not None:
            self._tracker.is_being_turned(now)

    def stop(self) -> None:
        """Forget the run and its clicks; ignore tags until the next hunt."""
        if self._tracker is not None:
            self._tracker.wipe()
        self._hunter = self._tracker = self._states = None
        self._reported_ps = None
        self._buffer.wipe()
        self._buffer = TagBuffer()
        self._settler.wipe()

    def feed(self, tags: TagBlock) -> tuple[Event, ...]:
        """Take in the tagger's next block.

        Raises
        ------
        ValueError
            If the block is not in time order behind the one before.
        """
        if not self.active:
            return ()
        if tags.lost:
            return self._lose("the time tagger lost events")
        self._check_order(tags)
        events: list[Event] = []
        for times_ps, detectors, until_ps in self._pieces(tags):
            if len(self._buffer) + times_ps.size > MAX_TAGS:
                return (*events, *self._lose(f"over {MAX_TAGS} tags wait: too bright"))
            self._buffer.append(times_ps, detectors)
            events += self._advance(until_ps)
            if not self.active:
                break
        return tuple(events)

    def _lose(self, reason: str) -> tuple[Event, ...]:
        self.stop()
        return (Lost(reason),)

    def _check_order(self, tags: TagBlock) -> None:
        told_ps = self._reported_ps
        if tags.times_ps.size:
            first_ps, last_ps = int(tags.times_ps[0]), int(tags.times_ps[-1])
            if told_ps is not None and first_ps < told_ps:
                raise ValueError(f"tag at {first_ps} ps, but all before {told_ps} ps were told")
            if not in_order(tags.times_ps):
                raise ValueError(f"tags until {last_ps} ps are not in time order")
            told_ps = last_ps
        self._reported_ps = tags.until_ps if told_ps is None else max(told_ps, tags.until_ps)

    def _pieces(
        self, tags: TagBlock
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], int]]:
        """Cut a block; leave out inputs that are no detector."""
        for begin in range(0, max(tags.times_ps.size, 1), TAGS_AT_ONCE):
            end = begin + TAGS_AT_ONCE
            times_ps = tags.times_ps[begin:end]
            detectors, n_none = detectors_of(tags.channels[begin:end], self._detector_of)
            if n_none:
                ours = detectors != NO_DETECTOR
                times_ps, detectors = times_ps[ours], detectors[ours]
            until_ps = tags.until_ps
            if end < tags.times_ps.size:
                until_ps = min(until_ps, int(tags.times_ps[end]))
            yield times_ps, detectors, until_ps

    def _advance(self, until_ps: int) -> list[Event]:
        events: list[Event] = []
        if self._hunter is not None:
            found = self._hunter.advance(until_ps)
            if isinstance(found, Found):
                events += (found.clock_found, found.start_found)
                self._track(found)
            elif found is not None:
                events += found
        if self._tracker is not None:
            events += self._tracker.advance(until_ps)
        if events and isinstance(events[-1], Lost):
            self.stop()
        return events

    def _track(self, found: Found) -> None:
        assert self._states is not None
        self._hunter = None
        self._tracker = Tracker(
            self._plan,
            self._settings,
            self._states,
            self._settler,
            self._buffer,
            found.clock,
            armed=not self._any_turn,
        )


def _check(plan: LightPlan, settings: FrameSettings, detectors: Mapping[int, int]) -> None:
    check_light(plan, settings)
    if sorted(detectors.values()) != [0, 1, 2, 3] or not all(0 <= c < 256 for c in detectors):
        raise ValueError(f"detectors {dict(detectors)} must be four inputs for detectors 0 to 3")
