"""Bad days of instruments, by orders to the laboratory's control socket."""

from functools import partial

import trio

from benchmarks.soak.bad_day import Kind, Scene
from drivers.sim.control import FaultOrder
from drivers.sim.mishaps import FaultKind
from qkdd.cli.demo.files import LINK

NOISE_AT = "noise-b"
OF_THE_LIGHT = ("laser", "attenuator", "encoder", "tagger")
HELPERS = ("polarization",)
"""Without them the light goes on; but one that loses its power loses its voltages."""
DETECTORS = ("detector",)


async def fault(
    scene: Scene,
    kind: FaultKind,
    instruments: tuple[str, ...],
    *,
    at: str = LINK,
    bounds_s: tuple[float, float] = (1.5, 6.0),
) -> str:
    """Have one of ``instruments`` be at fault for some time."""
    instrument = scene.dice.choice(instruments)
    seconds = scene.dice.uniform(*bounds_s)
    await scene.order(FaultOrder(at, instrument, kind, seconds))
    await trio.sleep(seconds)
    return f"{instrument}: {kind} for {seconds:.1f} s"


def kind(
    name: str, what: FaultKind, instruments: tuple[str, ...], *, keeps_light: bool = False
) -> Kind:
    return Kind(name, partial(fault, kind=what, instruments=instruments), keeps_light)


def entropy(what: FaultKind) -> Kind:
    """Let the noise of Bob's relay fail for longer than it takes to be noticed."""
    act = partial(fault, kind=what, instruments=("noise",), at=NOISE_AT, bounds_s=(6.5, 9.0))
    return Kind(f"entropy-{what}", act)


KINDS = (
    *(entropy(what) for what in ("stuck", "oscillating", "unplugged")),
    kind("power-meter-unplugged", "unplugged", ("power_meter",)),
    kind("detectors-unplugged", "unplugged", DETECTORS),
    kind("detectors-garbage", "noise", DETECTORS),
    kind("detectors-disabled", "disabled", DETECTORS),
    kind("detector-latched", "latch", DETECTORS),
    kind("power-meter-garbage", "noise", ("power_meter",)),
    *(kind(f"{one}-unplugged", "unplugged", (one,)) for one in OF_THE_LIGHT),
    kind("half-reply", "half-reply", OF_THE_LIGHT),
    kind("power-off", "off", OF_THE_LIGHT),
    kind("silence", "silent", OF_THE_LIGHT),
    kind("late-reply", "late", OF_THE_LIGHT),
    kind("garbage", "noise", OF_THE_LIGHT),
    kind("stranger", "stranger", OF_THE_LIGHT),
    kind("slip", "slip", ("tagger",)),
    kind("tagger-overflow", "overflow", ("tagger",)),
    kind("encoder-fault", "stops", ("encoder",)),
    kind("interlock", "interlock", ("laser",)),
    kind("controller-unplugged", "unplugged", HELPERS, keeps_light=True),
    kind("controller-garbage", "noise", HELPERS, keeps_light=True),
    kind("controller-off", "off", HELPERS),
)
