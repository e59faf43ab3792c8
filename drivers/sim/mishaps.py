"""What a hand, a worn plug or a tired part does to the instruments of one place, for some time."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import msgspec

from drivers.sim.cable import Cable, Wire
from drivers.sim.serve import PtyServer, TcpServer
from drivers.sim.serve_zmq import RepServer

Server = PtyServer | TcpServer | RepServer

FaultKind = Literal[
    "unplugged",
    "half-reply",
    "off",
    "silent",
    "late",
    "noise",
    "stranger",
    "slip",
    "overflow",
    "stops",
    "interlock",
    "latch",
    "deaf",
    "disabled",
    "warm",
    "stuck",
    "oscillating",
    "biased",
]
WIRES = {
    "silent": Wire.SILENT,
    "late": Wire.LATE,
    "noise": Wire.NOISE,
    "half-reply": Wire.HALF,
    "stranger": Wire.STRANGER,
}
OUT_OF_THE_SOCKET = ("unplugged", "off")
SWAPPED = ("stranger",)
"""The plug is pulled for a moment, before and after."""
SWAP_NS = 200_000_000


class FaultDone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault that is under way."""

    instrument: str
    fault: FaultKind
    seconds_left: float


class NoSuchFault(Exception):
    """This instrument cannot be so."""


@dataclass(slots=True)
class Outlet:
    """One instrument: its server, its wire if it has one of bytes, and what else can be done."""

    server: Server
    cable: Cable | None
    power_cycle: Callable[[], None] | None
    special: dict[str, Callable[[bool], None]]
    """Fault -> what begins (true) or ends it; only for this instrument."""
    fault: FaultKind | None = None
    until_ns: int = 0
    replug_ns: int | None = None
    """The plug is out, and goes in again then."""

    def kinds(self) -> list[str]:
        """Which faults it can have."""
        wires = [] if self.cable is None else list(WIRES)
        off = [] if self.power_cycle is None else ["off"]
        return ["unplugged", *off, *wires, *self.special]


class Mishaps:
    """The instruments of one link, or a source of noise; each with at most one fault at a time."""

    def __init__(self) -> None:
        self._outlets: dict[str, Outlet] = {}

    def know(
        self,
        instrument: str,
        server: Server,
        cable: Cable | None,
        *,
        power_cycle: Callable[[], None] | None = None,
        special: dict[str, Callable[[bool], None]] | None = None,
    ) -> None:
        """Take an instrument into care."""
        self._outlets[instrument] = Outlet(server, cable, power_cycle, special or {})

    def begin(self, instrument: str, fault: FaultKind, now_ns: int, n_ns: int) -> None:
        """Let it be so for ``n_ns``; 0 ends what there is.

        Raises
        ------
        NoSuchFault
            With what there is; then nothing was done.
        """
        outlet = self._outlets.get(instrument)
        if outlet is None:
            raise NoSuchFault(f"no instrument {instrument!r}; there are {', '.join(self._outlets)}")
        if fault not in outlet.kinds():
            kinds = ", ".join(outlet.kinds())
            raise NoSuchFault(f"the {instrument} cannot be {fault!r}; it can be {kinds}")
        if outlet.fault is not None:
            _end(outlet, now_ns)
        if n_ns > 0:
            _begin(outlet, fault, now_ns, n_ns)
        self.advance(now_ns)

    def advance(self, now_ns: int) -> None:
        """End what has had its time; pull and push plugs that are due."""
        for outlet in self._outlets.values():
            if outlet.fault is not None and now_ns >= outlet.until_ns:
                _end(outlet, now_ns)
            if outlet.cable is not None and outlet.cable.broken and outlet.replug_ns is None:
                _pull(outlet, outlet.until_ns)
            if outlet.replug_ns is not None and now_ns >= outlet.replug_ns:
                with suppress(OSError):  # the port is taken for the moment: at the next tick
                    outlet.server.plug()
                    outlet.replug_ns = None

    def under_way(self, now_ns: int) -> tuple[FaultDone, ...]:
        """What there is now."""
        return tuple(
            FaultDone(name, outlet.fault, max(0, outlet.until_ns - now_ns) / 1e9)
            for name, outlet in self._outlets.items()
            if outlet.fault is not None
        )


def _begin(outlet: Outlet, fault: FaultKind, now_ns: int, n_ns: int) -> None:
    outlet.fault, outlet.until_ns = fault, now_ns + n_ns
    if fault in OUT_OF_THE_SOCKET:
        _pull(outlet, outlet.until_ns)
    elif fault in SWAPPED:
        _pull(outlet, now_ns + SWAP_NS)
    if fault == "off" and outlet.power_cycle is not None:
        outlet.power_cycle()
    if outlet.cable is not None and fault in WIRES:
        outlet.cable.turn(WIRES[fault])
    if fault in outlet.special:
        outlet.special[fault](True)


def _end(outlet: Outlet, now_ns: int) -> None:
    fault, outlet.fault = outlet.fault, None
    if outlet.replug_ns is not None:
        outlet.replug_ns = now_ns
    if fault in SWAPPED:
        _pull(outlet, now_ns + SWAP_NS)
    if fault == "off" and outlet.power_cycle is not None:
        outlet.power_cycle()
    if outlet.cable is not None:
        outlet.cable.turn(Wire.SOUND)
    if fault in outlet.special:
        outlet.special[fault](False)


def _pull(outlet: Outlet, replug_ns: int) -> None:
    outlet.server.unplug()
    outlet.replug_ns = replug_ns
