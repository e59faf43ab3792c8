"""The pictures of ``qkdd optimise --plot``: key rate over loss, and over the length of a block."""

from dataclasses import replace
from pathlib import Path

import msgspec

from qkdd.cli.optimise.model import Choice, expect
from qkdd.cli.optimise.search import Space, best_of, plan_for
from qkdd.cli.optimise.svg import Axis, Curve, line_plot

LOSSES_DB = tuple(range(-9, 13, 3))
"""Around the measured one."""

BLOCKS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
RATE = Axis("secret key, kbit/s", log=True)


def rate(space: Space, choice: Choice) -> float:
    """Secret kbit/s of a choice, 0 without key."""
    expected = expect(space.measured, choice, space.proof)
    return expected.length.n_out / expected.seconds / 1e3


def over_loss(space: Space, chosen: Choice, present: Choice | None) -> str:
    """Key rate over loss: settings chosen anew at each loss, and those that were chosen."""
    spaces = [
        replace(space, measured=replace(space.measured, loss_db=space.measured.loss_db + more))
        for more in LOSSES_DB
        if space.measured.loss_db + more >= 0.0
    ]
    curves = [("these settings", chosen)] + ([("as configured", present)] if present else [])
    anew = []
    for one in spaces:
        best = best_of(one)
        if best is not None:
            anew.append((one.measured.loss_db, rate(one, best.choice)))
    fixed = [
        Curve(name, [(one.measured.loss_db, rate(one, choice)) for one in spaces])
        for name, choice in curves
    ]
    title = f"Key rate over loss, {space.pulse_rate_hz / 1e6:g} MHz, {space.block_s:g} s"
    return line_plot(title, Axis("loss, dB"), RATE, [Curve("chosen anew", anew), *fixed])


def over_block(space: Space, chosen: Choice) -> str:
    """Key rate over the length of a block, by the settings that were chosen."""
    points = []
    for block_s in sorted({*BLOCKS_S, space.block_s}):
        ramp = plan_for(space.pulse_rate_hz, block_s).ramp_frames
        plan = msgspec.structs.replace(chosen.light, ramp_frames=ramp)
        points.append((block_s, rate(space, replace(chosen, light=plan))))
    used = [(block_s, kbit_s) for block_s, kbit_s in points if block_s == space.block_s]
    curves = [Curve("these settings", points), Curve("chosen length", used, dots=True)]
    title = f"Key rate over block length, {space.measured.loss_db:g} dB"
    return line_plot(title, Axis("block, s", log=True), RATE, curves)


def write(folder: Path, space: Space, chosen: Choice, present: Choice | None) -> list[Path]:
    """Draw both pictures into ``folder``, which is made.

    Raises
    ------
    OSError
        If they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "rate-over-loss.svg": over_loss(space, chosen, present),
        "rate-over-block.svg": over_block(space, chosen),
    }
    for name, text in pictures.items():
        (folder / name).write_text(text)
    return [folder / name for name in pictures]
