"""Which instruments stand at this end of a link, and how they are set."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from drivers.catalogue import (
    ATTENUATORS,
    DETECTORS,
    ENCODERS,
    LASERS,
    POLARIZATION_CONTROLLERS,
    POWER_METERS,
    TIME_TAGGERS,
    check_way,
)
from qkdd.watch.settings import WatchSettings


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An instrument as it is found: the model picks the driver, the resource the way to it."""

    model: Annotated[str, Meta(min_length=1)]
    resource: Annotated[str, Meta(min_length=1)]


def check_instrument(kind: str, instrument: Instrument, known: tuple[str, ...]) -> None:
    """Raise ValueError unless there is a driver for it and a way to it."""
    if instrument.model not in known:
        raise ValueError(
            f"{kind} model {instrument.model!r} is not known; known: {', '.join(known)}"
        )
    check_way(instrument.model, instrument.resource)


class LaserSettings(Instrument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    current_ma: Annotated[float, Meta(gt=0, le=1000)]


class AttenuatorSettings(Instrument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    loss_db: Annotated[float, Meta(ge=0, le=100)]
    """Attenuation at which a signal pulse leaves with ``intensities.signal_mu`` photons (nominal:
    set by hand until a calibration exists)."""


class EncoderSettings(Instrument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key_file: Path
    """The board key, 32 bytes (docs/encoder-protocol.md)."""


class TapSettings(Instrument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A power meter that sees a fixed part of the light between modulator and attenuator."""

    power_w: Annotated[float, Meta(gt=0)]
    """What it reads while the encoder shows the signal, and a signal has ``signal_mu`` photons."""
    wavelength_nm: Annotated[float, Meta(gt=0)] = 1550.12
    """What the sensor's responsivity is taken at; as when ``power_w`` was read."""
    uncertainty: Annotated[float, Meta(ge=0, lt=0.2)] = 0.005
    """Relative, of a reading against ``power_w``: noise, drift of meter and coupler since."""

    def __post_init__(self) -> None:
        check_instrument("power meter", self, POWER_METERS)


class TransmitterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    laser: LaserSettings
    attenuator: AttenuatorSettings
    encoder: EncoderSettings
    tap: TapSettings | None = None

    def __post_init__(self) -> None:
        check_instrument("laser", self.laser, LASERS)
        check_instrument("attenuator", self.attenuator, ATTENUATORS)
        check_instrument("encoder", self.encoder, ENCODERS)


class PolarizationSettings(Instrument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A controller that undoes what the fibre does to the polarisation."""

    half_wave_mv: Annotated[float, Meta(ge=10, le=100_000)]
    """Turns the Poincare sphere by half a turn (measured at the light's wavelength)."""
    max_qber: Annotated[float, Meta(ge=0.04, lt=0.45)] = 0.05
    """Of a basis' calibration bits; above it the polarisation is not held."""

    def __post_init__(self) -> None:
        check_instrument("polarization controller", self, POLARIZATION_CONTROLLERS)


Wire = Annotated[int, Meta(ge=1, le=64)]
Bias = Annotated[float, Meta(gt=0, le=1000)]
Trigger = Annotated[float, Meta(ge=0, le=10_000)]


class DetectorSettings(Instrument, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The controller of the detectors, and what they are like when they are well."""

    wires: tuple[Wire, Wire, Wire, Wire] = (1, 2, 3, 4)
    """Numbers of the box for the detectors key 0, key 1, test 0, test 1."""
    bias_ua: tuple[Bias, Bias, Bias, Bias]
    trigger_mv: tuple[Trigger, Trigger, Trigger, Trigger] | None = None
    set_bias: bool = False
    """The relay sets bias and triggers, and frees a wire that has latched; else it only looks."""
    max_voltage: Annotated[float, Meta(gt=0)] | None = None
    """Over a wire that carries its bias, as the controller tells it."""
    lowest_hz: Annotated[float, Meta(ge=0)] = 10.0
    highest_hz: Annotated[float, Meta(gt=0)] = 10_000_000.0
    max_temperature_k: Annotated[float, Meta(gt=0)] = 3.5

    def __post_init__(self) -> None:
        check_instrument("detector", self, DETECTORS)
        if len(set(self.wires)) != 4:
            raise ValueError(f"wires {sorted(self.wires)} must be four different ones")
        if self.lowest_hz >= self.highest_hz:
            raise ValueError(f"lowest_hz {self.lowest_hz:g} must be below highest_hz")


class ReceiverSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tagger: Instrument
    key0_channel: Annotated[int, Meta(ge=1, le=64)] = 1
    key1_channel: Annotated[int, Meta(ge=1, le=64)] = 2
    test0_channel: Annotated[int, Meta(ge=1, le=64)] = 3
    test1_channel: Annotated[int, Meta(ge=1, le=64)] = 4
    watch: WatchSettings = WatchSettings()
    polarization: PolarizationSettings | None = None
    detector: DetectorSettings | None = None

    def __post_init__(self) -> None:
        check_instrument("time tagger", self.tagger, TIME_TAGGERS)
        if len(set(self.detectors)) != 4:
            raise ValueError(f"channels {sorted(self.detectors)} must be four different inputs")

    @property
    def detectors(self) -> dict[int, int]:
        """Channel of the tagger -> detector number (basis * 2 + bit)."""
        channels = (self.key0_channel, self.key1_channel, self.test0_channel, self.test1_channel)
        return {channel: detector for detector, channel in enumerate(channels)}
