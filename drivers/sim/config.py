"""LAB.toml: the fibre, source, receiver and instruments of every simulated link.

A model parameter has the value of a common laboratory as its default; the instruments and where
they listen have none. Paths are relative to the folder of the TOML.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.sim.config_optional import (
    EPCConfig,
    Listen,
    OneRNGConfig,
    PM100Config,
    WebSQConfig,
)

Decibel = Annotated[float, Meta(ge=0, le=200)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Words = Annotated[int, Meta(ge=128, le=1 << 26)]


class LabConfigError(ValueError):
    """LAB.toml does not say a lab; the message names the file and the place in it."""


class Fibre(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The way of the light between the transmitter's and the receiver's connector."""

    length_km: Annotated[float, Meta(ge=0, le=1000)] = 50.0
    loss_db: Decibel = 12.0
    """Fibre and patching together; not derived from the length."""

    misalignment: Annotated[float, Meta(ge=0, le=0.5)] = 0.01
    """Probability that a photon of the right basis leaves by the wrong port, both bases."""

    polarization_drift: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Of the turn about each axis of the Poincare sphere, in rad per square root of a second."""

    polarization_start: Literal["aligned", "unknown"] = "aligned"
    delay_drift_ps_per_s: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.0
    day_swing_k: Annotated[float, Meta(ge=0, le=50)] = 0.0
    """Half of what the fibre's temperature changes in a day of the lab's time."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The laser diode and what is fixed inside the transmitter."""

    wavelength_nm: Annotated[float, Meta(ge=400, le=2000)] = 1550.12
    threshold_ma: Annotated[float, Meta(ge=0, le=1000)] = 10.0
    slope_mw_per_ma: Annotated[float, Meta(gt=0, le=10)] = 0.1
    fixed_loss_db: Decibel = 40.0
    """What the tap takes away is in it."""

    tap_ratio: Fraction = 0.01
    """Share of the modulator's light that goes to the power meter, if there is one."""

    weak_error: Annotated[float, Meta(ge=0, le=2)] = 1.0
    """Light of a weak pulse over what the encoder was told: a modulator off its point."""

    vacuum_error: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    """The same of a vacuum pulse: extinction that was lost."""

    def power_mw(self, current_ma: float) -> float:
        """Optical power of the diode above its threshold, 0 below."""
        return max(0.0, self.slope_mw_per_ma * (current_ma - self.threshold_ma))


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passive basis choice, four alike detectors, and the tagger's own clock."""

    loss_db: Decibel = 3.0
    key_basis_share: Annotated[float, Meta(gt=0, lt=1)] = 0.84
    """Share of the splitter's light that goes to the key basis."""

    efficiency: Annotated[float, Meta(gt=0, le=1)] = 0.8
    dark_hz: Annotated[float, Meta(ge=0, le=1e7)] = 100.0
    """Per detector."""

    recovery_ns: Annotated[float, Meta(ge=0, le=1e5)] = 30.0
    jitter_ps: Annotated[float, Meta(ge=0, le=1e5)] = 50.0
    """Full width at half maximum."""

    clock_offset_ppm: Annotated[float, Meta(ge=-100, le=100)] = 12.0
    clock_drift_ppb_per_s: Annotated[float, Meta(ge=-1000, le=1000)] = 1.0
    clock_wander_ps_per_sqrt_s: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Random walk of the reading: its standard deviation after a second."""

    delay_ns: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    """Electrical, on top of 4.9 us per km of fibre."""


class Attack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an eavesdropper does; docs/lab.md says what each makes of its strength."""

    kind: Literal[
        "intercept-resend",
        "photon-number-splitting",
        "blinding-naive",
        "blinding-careful",
        "time-shift",
        "after-gate",
        "dead-time",
        "laser-seeding",
        "intensity-drift",
        "qrng-bias",
    ]
    fraction: Fraction
    """Her strength: of most attacks the share of the pulses that she attacks."""


class CTL200Config(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="koheron-ctl200",
):
    """Koheron CTL200, a laser and TEC controller."""

    listen: Listen
    interlock_open: bool = False


class HP8156AConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="agilent-8156a",
):
    """Agilent 8156A, an optical attenuator."""

    listen: Listen


class StateEncoderConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="qmse-1",
):
    """A transmitter board that speaks QMSE-1 (docs/encoder-protocol.md)."""

    listen: Listen
    key_file: Annotated[str, Meta(min_length=1)]
    """The 32-byte board key: raw, or 64 hexadecimal digits."""

    def __post_init__(self) -> None:
        if self.listen.startswith("pty:"):
            raise ValueError("the board must hear its host hang up: listen on tcp")


class TDC1Config(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="s15-tdc1",
):
    """S-Fifteen TDC1, a four-channel time tagger."""

    listen: Listen
    fifo_words: Words = 65_536
    slips_per_s: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Mean rate at which the stream loses two bytes: a known fault at high count rates."""


class ID1000Config(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="idq-id1000",
):
    """ID Quantique ID1000, a four-channel time controller, and its DataLinkTarget service."""

    listen: Listen
    """Of the device itself: SCPI."""

    datalink: Listen = "tcp:127.0.0.1:6060"
    """Of the service, which binds the streams' ports on the same host."""

    pulse_v: Annotated[float, Meta(ge=-10, le=10)] = -0.8
    """Height of the detectors' pulses: NIM. An input must have its threshold between 0 and it."""

    buffer_stamps: Annotated[int, Meta(ge=1000, le=300_000_000)] = 100_000_000
    """Time stamps of one channel that leave the device before their record has ended."""

    shortest_record_ms: Annotated[float, Meta(ge=1, le=1000)] = 200.0
    """Of several records in a row."""

    overflow_is_fatal: bool = True
    """After more than 10 million time stamps a second only a restart of the lab helps."""

    queue_bytes: Annotated[int, Meta(ge=1_000_000, le=1 << 32)] = 1 << 27
    """What the service keeps for the client of one channel; more is lost."""

    message_of_empty_record: bool = False
    """A record without events makes a message of no bytes, as the end of the stream does."""

    def __post_init__(self) -> None:
        if self.listen.startswith("pty:") or self.datalink.startswith("pty:"):
            raise ValueError("ZeroMQ needs a network: listen on tcp")


class Instruments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The simulated instruments of one link: the first four always, the others if named."""

    laser: CTL200Config
    attenuator: HP8156AConfig
    encoder: StateEncoderConfig
    tagger: TDC1Config | ID1000Config
    power_meter: PM100Config | None = None
    polarization: EPCConfig | None = None
    detector: WebSQConfig | None = None

    def places(self) -> tuple[str, ...]:
        """Where they listen, all of them."""
        parts = (
            *(self.laser, self.attenuator, self.encoder, self.tagger),
            *(self.power_meter, self.polarization, self.detector),
        )
        counts = () if self.detector is None else (self.detector.counts,)
        return (*(one.listen for one in parts if one), *datalinks(self.tagger), *counts)


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One quantum link: what the light meets, and what the two hosts hold in their hands."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    fibre: Fibre = Fibre()
    source: Source = Source()
    receiver: Receiver = Receiver()
    attack: Attack | None = None
    instruments: Instruments


class Lab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole laboratory, one process."""

    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    tick_ms: Annotated[float, Meta(ge=1, le=100)] = 10.0
    """How often the model goes on by itself, and instruments say what they have."""

    links: Annotated[tuple[Link, ...], Meta(min_length=1)]
    noise: tuple[OneRNGConfig, ...] = ()
    """Sources of noise, which see no light."""

    def __post_init__(self) -> None:
        names = [link.name for link in self.links] + [source.name for source in self.noise]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"names must be unique: {sorted(twice)}")
        places = [place for link in self.links for place in link.instruments.places()]
        places += [source.listen for source in self.noise]
        listens = [place for place in places if not place.endswith(":0")]
        if taken := {place for place in listens if listens.count(place) > 1}:
            raise ValueError(f"two instruments cannot listen on one place: {sorted(taken)}")


def datalinks(tagger: TDC1Config | ID1000Config) -> tuple[str, ...]:
    """Where else a tagger listens."""
    return (tagger.datalink,) if isinstance(tagger, ID1000Config) else ()


def read_lab(path: Path) -> Lab:
    """The lab that ``path`` describes.

    Raises
    ------
    LabConfigError
        With the file and the place in it, as ``lab.toml: ... - at `$.links[0].fibre.loss_db```.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Lab)
    except (OSError, ValueError, RecursionError) as error:  # no text, no TOML, or no lab
        raise LabConfigError(f"{path}: {error}") from error
