"""What a rig file says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

KINDS = ("laser", "attenuator", "encoder", "time_tagger")


class RigInstrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["laser", "attenuator", "encoder", "time_tagger"]
    model: str
    resource: str
    current_ma: float | None = None
    key_file: str | None = None
    inputs: Literal["nim", "ttl"] = "nim"

    def __post_init__(self) -> None:
        if self.kind == "laser" and self.current_ma is None:
            raise ValueError("a laser needs current_ma")
        if self.kind == "encoder" and self.key_file is None:
            raise ValueError("an encoder needs key_file")


class Rig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    instruments: tuple[RigInstrument, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """An instrument of a rig, and the folder that its paths are relative to."""

    instrument: RigInstrument
    folder: Path


def read_rig(path: Path) -> list[Found]:
    """Read a rig file; errors have the path of the field."""
    rig = msgspec.toml.decode(path.read_bytes(), type=Rig)
    return [Found(instrument, path.parent) for instrument in rig.instruments]
