"""The wire between one instrument and its host, with a hand on it.

What a wire does to bytes happens here, the same for every instrument; the plug itself belongs to
the server (`drivers.sim.serve`), and the hand's orders to `drivers.sim.mishaps`.
"""

from enum import Enum

import numpy as np

from drivers.sim.serve import Device

NOTHING = memoryview(b"")
STRANGER = b"ACME INSTRUMENTS,42,0,1.0\r\n"
"""What another device answers to whatever it is told."""


class Wire(Enum):
    """How the way from the instrument to the host is."""

    SOUND = "sound"
    SILENT = "silent"
    """Nothing comes through, and what was said is lost."""
    LATE = "late"
    """Nothing comes through; all of it comes when the wire is sound again."""
    NOISE = "noise"
    """As many bytes, and none of them as it was."""
    HALF = "half"
    """Half of what is said next comes through, then ``broken`` is true and nothing more."""
    STRANGER = "stranger"
    """Another device is at the end of it."""


class Cable:
    """A device as its server sees it through a wire."""

    def __init__(self, device: Device, dice: np.random.Generator) -> None:
        self._device = device
        self._dice = dice
        self._said_by_stranger = bytearray()
        self.wire = Wire.SOUND
        self.broken = False
        """Half a reply has gone through: it is time to pull the plug."""

    def turn(self, wire: Wire) -> None:
        """Have the wire be so from now on."""
        self.wire = wire
        self.broken = False
        self._said_by_stranger.clear()

    def connected(self) -> None:
        self._device.connected()

    def disconnected(self) -> None:
        self._said_by_stranger.clear()
        self._device.disconnected()

    def receive(self, data: bytes) -> None:
        """Pass on what the host says; may raise HangUp, as the device does."""
        if self.wire is Wire.STRANGER:
            self._said_by_stranger += STRANGER * data.count(b"\n")
            return
        self._device.receive(data)

    def pending(self) -> memoryview:
        """What the host may read now."""
        match self.wire:
            case Wire.SOUND:  # asked at each tick
                return self._device.pending()
            case Wire.SILENT:
                return self._lost()
            case Wire.LATE:
                return NOTHING
            case Wire.NOISE:
                return self._noise()
            case Wire.HALF:
                return self._half()
            case Wire.STRANGER:
                return memoryview(bytes(self._said_by_stranger))

    def sent(self, n_bytes: int) -> None:
        """Forget what the host took."""
        if self.wire is Wire.STRANGER:
            del self._said_by_stranger[:n_bytes]
            return
        self._device.sent(n_bytes)
        self.broken = self.wire is Wire.HALF

    def _lost(self) -> memoryview:
        while chunk := self._device.pending():
            n_bytes = len(chunk)
            del chunk  # a device may not change what is still looked at
            self._device.sent(n_bytes)
        return NOTHING

    def _noise(self) -> memoryview:
        return memoryview(self._dice.bytes(len(self._device.pending())))

    def _half(self) -> memoryview:
        chunk = self._device.pending()
        return NOTHING if self.broken else chunk[: (len(chunk) + 1) // 2]
