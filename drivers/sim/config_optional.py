"""LAB.toml: the instruments that a link may have besides its laser, attenuator, encoder, tagger,
and those that stand at no link.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Listen = Annotated[str, Meta(pattern=r"^(pty:.+|tcp:[^:\s]+:[0-9]{1,5})$")]
"""``pty:SYMLINK`` or ``tcp:HOST:PORT``; port 0 lets the system choose."""


class PM100Config(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="thorlabs-pm100",
):
    """Thorlabs PM100D, an optical power meter at the transmitter's tap."""

    listen: Listen


class EPCConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="ozoptics-epc",
):
    """OZ Optics EPC-400, a polarisation controller."""

    listen: Listen
    echo: bool = True
    """Whether it repeats a command before it answers."""

    half_wave_mv: Annotated[float, Meta(ge=100, le=5000)] = 2000.0
    """Voltage at which a squeezer turns the Poincare sphere by half a turn."""


class WebSQConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="sq-websq",
):
    """Single Quantum Atlas driver (WebSQ) with four nanowire detectors."""

    listen: Listen
    """Of the control port."""

    counts: Listen = "tcp:127.0.0.1:0"
    """Of the port of the counts."""

    switching_ua: Annotated[float, Meta(gt=0, le=90.9)] = 20.0
    """Bias current of each wire above which it latches."""

    biased: bool = False
    """Somebody has set the bias currents and enabled the detectors."""

    def __post_init__(self) -> None:
        if self.listen.startswith("pty:") or self.counts.startswith("pty:"):
            raise ValueError("the box is on a network: listen on tcp")


class OneRNGConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="onerng",
):
    """Moonbase Otago OneRNG, a source of noise for a relay."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    listen: Listen
    firmware: Literal[2, 3] = 3
