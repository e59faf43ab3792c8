"""The detectors' controller at the receiver: whether they are what the proof takes them for.

starting, trouble, lost --a whole look, and all is well--> well
well --something is not as it should be--> trouble
any --the controller does not answer--> lost
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import structlog
import trio

from drivers.catalogue import open_detector
from drivers.detector import Detector, DetectorCounts, DetectorStatus
from drivers.errors import BadReply
from drivers.tags import TagBlock
from qkdd.station.settings import DetectorSettings
from qkdd.watch.two_counts import LOOKS_BACK_S, TwoCounts
from qkdd.watch.wires import (
    CountBand,
    Counts,
    Standing,
    Values,
    WireLimits,
    standing_trouble,
    temperature_trouble,
)

log = structlog.get_logger(__name__)

STARTING, WELL, TROUBLE, LOST = "starting", "well", "trouble", "lost"
NOT_LOOKED_AT = "detectors: not looked at yet"

LOOK_S = 0.5
"""Between two looks at the settings: a block waits for the look after its end."""
PERIOD_MS = 500
LONGEST_PERIOD_MS = 1000
TEMPERATURE_EVERY_S = 30.0
"""A cryostat that fails takes minutes; its answer is a long history."""
RESTORE_EVERY_S = 3.0
MAX_DOUBTS = 16


class DetectorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller tells, of four detectors in the order key 0, key 1, test 0, test 1."""

    state: str
    """starting | well | trouble: no run begins | lost: no controller, and no run"""
    reason: str | None
    enabled: bool | None
    bias_ua: tuple[float, ...]
    voltage: tuple[float, ...]
    """In the controller's own unit."""
    rates_hz: tuple[float, ...]
    tagged_hz: tuple[float, ...]
    """Of the time tagger's events, over ten seconds."""
    temperature_k: float | None
    n_troubles: int
    n_restored: int
    """How often the bias was set, or taken away and given again."""


@dataclass(slots=True)
class Doubt:
    """A time in which not all was known to be well; until infinity while it lasts."""

    reason: str
    start_s: float
    end_s: float = math.inf


class DetectorKeeper:
    """Between the controller and the light: says what is wrong, and of which time.

    ``channels``: of the time tagger, in the order of the detectors.
    """

    def __init__(
        self,
        settings: DetectorSettings,
        channels: tuple[int, ...],
        *,
        tell: Callable[[DetectorFacts], None],
    ) -> None:
        self._settings = settings
        self._channels = np.array(channels)
        self._tell = tell
        self._limits = limits_of(settings)
        self._band, self._two = CountBand(self._limits), TwoCounts()
        self._state = STARTING
        self._status: DetectorStatus | None = None
        self._rates_hz: tuple[float, ...] = ()
        self._temperature_k: float | None = None
        self.n_troubles = 0
        self._n_restored = 0
        self._restored_s = -math.inf
        self._bias_wanted = False
        """Something was found that a bias taken away and given again may cure."""
        self._stood_s = self._counted_s = -math.inf
        """Up to when settings, and counts, are known to be well."""
        self._doubted_s = math.inf
        """When something was last found to be wrong; what was seen before that does not count."""
        self._doubts: deque[Doubt] = deque(maxlen=MAX_DOUBTS)
        self._doubts.append(Doubt(NOT_LOOKED_AT, -math.inf))
        self._news = trio.Event()

    @property
    def trouble(self) -> str | None:
        """Why no run may begin now, or None."""
        doubt = self._doubts[-1]
        return doubt.reason if doubt.end_s == math.inf else None

    @property
    def last_trouble(self) -> str:
        """What was wrong last."""
        return self._doubts[-1].reason

    def tagger_begins(self) -> None:
        """The time tagger's stream begins anew."""
        self._two.tagger_begins()

    def tagged(self, tags: TagBlock) -> None:
        """Take what the time tagger has seen."""
        if tags.lost:
            self._two.tagger_begins()
        each = np.bincount(tags.channels, minlength=int(self._channels.max()) + 1)[self._channels]
        key0, key1, test0, test1 = each.tolist()
        self._two.tagged((key0, key1, test0, test1), tags.until_ps * 1e-12, trio.current_time())

    async def vouch(self, start_s: float, end_s: float) -> str | None:
        """Wait until all is known of a block's time; return why it must not make key, or None."""
        while True:
            for doubt in self._doubts:
                if doubt.start_s < end_s and doubt.end_s > start_s:
                    return doubt.reason
            if min(self._stood_s, self._counted_s) >= end_s:
                return None
            await self._news.wait()

    def failed(self, reason: str) -> None:
        """The controller does not answer: nobody knows what the detectors do."""
        self._doubt(LOST, f"detectors: nobody watches them: {reason}", self._known_s)

    async def run(self) -> None:
        """Watch until cancelled.

        Raises
        ------
        InstrumentError
            The controller fails. Called again, it begins anew.
        """
        settings = self._settings
        self._band.forget()
        self._doubted_s = trio.current_time()
        async with open_detector(settings.model, settings.resource) as box:
            identity = await box.identity()
            log.info("instrument open", instrument="detector", model=identity.model)
            await self._begin(box)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._count, box)
                nursery.start_soon(self._look_on, box)

    async def _begin(self, box: Detector) -> None:
        found = await box.status()
        if max(self._settings.wires) > len(found.bias_ua):
            raise BadReply(f"{len(found.bias_ua)} wires, and wires {self._settings.wires} are used")
        if self._settings.set_bias:
            await box.set_period_ms(PERIOD_MS)
            if standing_trouble(self._standing(found), self._limits) is not None:
                await self._restore(box)
        elif found.period_ms > LONGEST_PERIOD_MS:
            raise BadReply(
                f"counts over {found.period_ms} ms, at most {LONGEST_PERIOD_MS} ms are of use"
            )

    async def _restore(self, box: Detector) -> None:
        """Take the bias away, which frees a latched wire, and give it again as configured."""
        self._restored_s = trio.current_time()
        self._bias_wanted = False
        self._n_restored += 1
        log.warning("detectors: bias set anew", reason=self.trouble)
        await box.set_enabled(on=False)
        found = await box.status()
        await box.set_bias_ua(self._put(found.bias_ua, self._settings.bias_ua))
        if self._settings.trigger_mv is not None:
            await box.set_trigger_mv(self._put(found.trigger_mv, self._settings.trigger_mv))
        await box.set_enabled(on=True)
        self._band.forget()

    async def _look_on(self, box: Detector) -> None:
        asked_s = -math.inf
        while True:
            began_s = trio.current_time()
            self._status = await box.status()
            if began_s - asked_s >= TEMPERATURE_EVERY_S:
                self._temperature_k = await box.temperature_k()
                asked_s = began_s
            assert self._temperature_k is not None
            warm = temperature_trouble(self._temperature_k, self._limits)
            standing = standing_trouble(self._standing(self._status), self._limits)
            if (trouble := warm or standing) is not None:
                asked_s = -math.inf
                self._doubt(TROUBLE, trouble, self._known_s)
            else:
                self._stood_s = began_s
            self._settle()
            self._bias_wanted |= standing is not None
            due = began_s >= self._restored_s + RESTORE_EVERY_S
            if self._settings.set_bias and self._bias_wanted and due and warm is None:
                await self._restore(box)
            await trio.sleep_until(began_s + LOOK_S)

    async def _count(self, box: Detector) -> None:
        while True:
            told = await box.counts()
            now_s = trio.current_time()
            period_s = told.period_ms / 1000
            counts = self._four(told)
            self._rates_hz = tuple(n / period_s for n in counts)
            uneven = self._two.counted(counts, told.time_s, period_s, now_s)
            if (silent := self._band.take(counts, period_s)) is not None:
                self._bias_wanted = True
                self._doubt(TROUBLE, silent, now_s - self._band.memory_s)
            elif uneven is not None:
                self._doubt(TROUBLE, uneven, now_s - LOOKS_BACK_S)
            elif self._band.alive:
                self._counted_s = now_s - period_s
            self._settle()

    @property
    def _known_s(self) -> float:
        """Up to when all was well, as far as it is known."""
        return min(self._stood_s, self._counted_s)

    def _doubt(self, state: str, reason: str, since_s: float) -> None:
        open_doubt = self._doubts[-1]
        if open_doubt.end_s == math.inf:
            if open_doubt.reason != reason:
                open_doubt.reason = reason
                log.error("detectors are not what they should be", reason=reason)
        else:
            self.n_troubles += 1
            self._doubts.append(Doubt(reason, min(since_s, self._known_s)))
            log.error("detectors are not what they should be", reason=reason)
        self._doubted_s = trio.current_time()
        self._state = state
        self._say()

    def _settle(self) -> None:
        """End a doubt once both looks have begun after it was last found to be so."""
        doubt = self._doubts[-1]
        if doubt.end_s == math.inf and self._known_s >= self._doubted_s:
            doubt.end_s = self._known_s
            self._state = WELL
            log.info("detectors are well", rates_hz=self._rates_hz)
        self._say()

    def _say(self) -> None:
        status = self._status
        standing = None if status is None else self._standing(status)
        self._tell(
            DetectorFacts(
                state=self._state,
                reason=self.trouble,
                enabled=None if standing is None else standing.enabled,
                bias_ua=() if standing is None else standing.bias_ua,
                voltage=() if standing is None else standing.voltage,
                rates_hz=self._rates_hz,
                tagged_hz=self._two.tagged_hz,
                temperature_k=self._temperature_k,
                n_troubles=self.n_troubles,
                n_restored=self._n_restored,
            )
        )
        self._news.set()
        self._news = trio.Event()

    def _standing(self, status: DetectorStatus) -> Standing:
        return Standing(
            enabled=status.enabled,
            bias_ua=self._pick(status.bias_ua),
            voltage=self._pick(status.bias_voltage),
            trigger_mv=self._pick(status.trigger_mv),
        )

    def _pick(self, values: tuple[float, ...]) -> Values:
        key0, key1, test0, test1 = (values[wire - 1] for wire in self._settings.wires)
        return (key0, key1, test0, test1)

    def _put(self, values: tuple[float, ...], ours: Values) -> tuple[float, ...]:
        """Leave the wires of others as they are."""
        of_wire = dict(zip(self._settings.wires, ours, strict=True))
        return tuple(of_wire.get(wire, value) for wire, value in enumerate(values, 1))

    def _four(self, told: DetectorCounts) -> Counts:
        key0, key1, test0, test1 = (told.counts[wire - 1] for wire in self._settings.wires)
        return (key0, key1, test0, test1)


def limits_of(settings: DetectorSettings) -> WireLimits:
    """What the configuration says of detectors that are well."""
    return WireLimits(
        bias_ua=settings.bias_ua,
        trigger_mv=settings.trigger_mv,
        max_voltage=settings.max_voltage,
        lowest_hz=settings.lowest_hz,
        highest_hz=settings.highest_hz,
        max_temperature_k=settings.max_temperature_k,
    )
