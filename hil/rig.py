"""What a rig file says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec

Kind = Literal[
    "laser",
    "attenuator",
    "encoder",
    "time_tagger",
    "polarization_controller",
    "detector",
    "power_meter",
    "entropy_source",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


class RigInstrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Kind
    model: str
    resource: str
    current_ma: float | None = None
    key_file: str | None = None
    inputs: Literal["nim", "ttl"] = "nim"
    bias_ua: tuple[float, ...] | None = None
    enable: bool = False
    wavelength_nm: float | None = None

    def __post_init__(self) -> None:
        if self.kind == "laser" and self.current_ma is None:
            raise ValueError("a laser needs current_ma")
        if self.kind == "encoder" and self.key_file is None:
            raise ValueError("an encoder needs key_file")
        if self.kind == "detector" and self.bias_ua is None:
            raise ValueError("a detector needs bias_ua")
        if self.kind == "power_meter" and self.wavelength_nm is None:
            raise ValueError("a power meter needs wavelength_nm")


class Rig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    instruments: tuple[RigInstrument, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """An instrument of a rig, and the folder that its paths are relative to."""

    instrument: RigInstrument
    folder: Path


def read_rig(path: Path) -> list[Found]:
    """Read a rig file; a msgspec.DecodeError has the path of the field."""
    try:
        rig = msgspec.toml.decode(path.read_bytes(), type=Rig)
    except msgspec.DecodeError:
        raise
    except (ValueError, RecursionError) as error:  # no text, a number of thousands of digits ...
        raise msgspec.DecodeError(f"{path} is not TOML: {error}") from error
    return [Found(instrument, path.parent) for instrument in rig.instruments]
