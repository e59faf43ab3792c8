"""The simulated Moonbase Otago OneRNG: an avalanche diode behind a USB serial line.

Source: the maker's published firmware, github.com/OneRNG/firmware, cdc_app.c of versions 2 and 3
(2013 to 2015), and moonbaseotago.com/onerng/theory.html: 350 kbit/s, 5 % more ones than zeros.
``cmd`` and one letter is a command, whatever surrounds it; nothing is echoed or acknowledged. Noise
gathers in a pool all the time and leaves in packets of 64 bytes while the host lets it run. The
firmware's own test drops a ninth byte of all zeros or all ones in a row, so that a line which is
stuck makes silence. Not modelled: the image (cmdX), the identity block (cmdI), the secret (cmdS).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Fault: TypeAlias = Literal["stuck", "oscillating", "biased"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
Samples: TypeAlias = npt.NDArray[np.uint8]

NOISE_BYTES_PER_S = 44_000.0
POOL_BYTES = 7 * 1024
PACKET_BYTES = 64
COUNT_LIMIT = 1 << 16
"""The firmware counts the pool in 16 bits."""
LONGEST_RUN = 8
"""Bytes of 00 or FF in a row that enter the pool (MAX_00_S, MAX_FF_S)."""
AVALANCHE_ONES, RADIO_ONES, BIASED_ONES = 0.525, 0.5007, 0.95
"""Share of ones among the samples; the last of a diode that has gone flat, and is chosen."""
OSCILLATION = (0x9C, 0x35)
"""Two bytes of samples while a clock is picked up; chosen."""
CRC16_POLYNOMIAL = 0x8005
"""Of the CC2531's random number generator, which whitens (SWRU191, section 14)."""
NO_WHITENING, RADIO, NO_AVALANCHE = 1, 2, 4


class OneRNG:
    """Powered up: it gathers whitened avalanche noise, and is paused."""

    def __init__(self, rng: np.random.Generator, *, firmware: int) -> None:
        self._rng = rng
        self._firmware = firmware
        self.fault: Fault | None = None
        self._run = (-1, 0)
        """The value of the last samples, and how often it came in a row."""
        self._credit = 0.0
        self._power_up()

    @property
    def faults(self) -> dict[str, Callable[[bool], None]]:
        """What can become of the diode, by its name: true begins it, false ends it."""

        def turn(fault: Fault, begins: bool) -> None:
            self.fault = fault if begins else None

        return {fault: partial(turn, fault) for fault in FAULTS}

    def power_cycle(self) -> None:
        self._power_up()

    def _power_up(self) -> None:
        self.mode = 0
        self.paused = True
        self._letters = b""
        self._answers = bytearray()
        self._answered = False
        self._leaving = bytearray()
        self._crc = 0xFFFF
        self._run = (-1, 0)
        self._flush()

    def _flush(self) -> None:
        self._pool: Samples = np.zeros(POOL_BYTES, np.uint8)
        self._in = self._out = self._stir = 0
        self._count = 0

    @property
    def led(self) -> Literal["on", "off", "stuck-at-0", "stuck-at-1"]:
        """Lit while a packet's worth waits; it flashes out which level the input is stuck at."""
        value, length = self._run
        if length >= LONGEST_RUN and value in (0x00, 0xFF):
            return "stuck-at-1" if value else "stuck-at-0"
        return "on" if self._count >= PACKET_BYTES else "off"

    def connected(self) -> None:
        """It has been plugged in, and begins as it does with power."""
        self._power_up()

    def disconnected(self) -> None:
        self._power_up()

    def receive(self, data: bytes) -> None:
        """Look for ``cmd`` and a letter; what does not belong to one is passed over."""
        for byte in data:
            letter = bytes((byte,))
            if self._letters == b"cmd":
                self._letters = b""
                self._obey(letter)
            elif letter == b"cmd"[len(self._letters) :][:1]:
                self._letters += letter
            else:
                self._letters = b""

    def _obey(self, letter: bytes) -> None:
        if letter in b"0123456789abcdefABCDEF":
            self.mode = int(letter, 16)
        elif letter == b"O":
            self.paused = False
        elif letter == b"o":
            self.paused = True
        elif letter == b"w":
            self._flush()
        elif letter == b"v":
            self._answers += b"\r\nVersion %d\r\n" % self._firmware

    def advance(self, dt_s: float) -> None:
        """Gather the noise of ``dt_s``."""
        silent = self.mode & NO_AVALANCHE and not self.mode & RADIO
        self._credit += 0.0 if silent else dt_s * NOISE_BYTES_PER_S
        n_bytes = int(self._credit)
        self._credit -= n_bytes
        samples = self._sampled(n_bytes)
        if not self.mode & NO_AVALANCHE:
            samples = self._tested(samples)
        self._gather(samples if self.mode & NO_WHITENING else self._whitened(samples))

    def pending(self) -> memoryview:
        """What is on its way to the host: an answer before noise, all of it only while it runs."""
        if not self._leaving and not self.paused:
            self._load()
        return memoryview(bytes(self._leaving))

    def sent(self, n_bytes: int) -> None:
        del self._leaving[:n_bytes]

    def _load(self) -> None:
        """Fill the next packet.

        Version 3 sends one packet of the pool after each answer, whether the pool has it or not:
        then its count wraps, and emptied places leave until it is flushed or has counted down.
        """
        if self._answers:
            self._leaving += self._answers
            self._answers.clear()
            self._answered = self._firmware >= 3
            return
        if self._count < PACKET_BYTES and not self._answered:
            return
        self._answered = False
        places = (self._out + np.arange(PACKET_BYTES)) % POOL_BYTES
        self._leaving += self._pool[places].tobytes()
        self._pool[places] = 0
        self._out = (self._out + PACKET_BYTES) % POOL_BYTES
        self._count = (self._count - PACKET_BYTES) % COUNT_LIMIT

    def _sampled(self, n_bytes: int) -> Samples:
        """Version 3 takes 16 samples for a byte, and adds one half to the other."""
        if self.mode & NO_AVALANCHE:
            return self._bytes_of(RADIO_ONES, n_bytes)
        halves = 2 if self._firmware >= 3 else 1
        if self.fault == "stuck":
            return np.zeros(n_bytes, np.uint8)
        if self.fault == "oscillating":
            first, second = OSCILLATION
            return np.full(n_bytes, first ^ second if halves == 2 else first, np.uint8)
        ones = BIASED_ONES if self.fault == "biased" else AVALANCHE_ONES
        samples = self._bytes_of(ones, n_bytes)
        return samples ^ self._bytes_of(ones, n_bytes) if halves == 2 else samples

    def _bytes_of(self, ones: float, n_bytes: int) -> Samples:
        return np.packbits(self._rng.random(8 * n_bytes, np.float32) < ones)

    def _tested(self, samples: Samples) -> Samples:
        """Drop what comes after eight bytes of zeros, or of ones, in a row."""
        if not samples.size:
            return samples
        value, length = self._run
        begins = np.diff(samples, prepend=samples[:1]) != 0
        places = np.arange(samples.size)
        in_run = places - np.maximum.accumulate(np.where(begins, places, 0))
        in_first = np.cumsum(begins) == 0
        if samples[0] == value:
            in_run[in_first] += length
        self._run = (int(samples[-1]), int(in_run[-1]) + 1)
        extreme = (samples == 0x00) | (samples == 0xFF)
        tested: Samples = samples[~(extreme & (in_run >= LONGEST_RUN))]
        return tested

    def _whitened(self, samples: Samples) -> Samples:
        """Each byte through the CRC, whose upper half is read back."""
        whitened = np.empty_like(samples)
        crc = self._crc
        for place, byte in enumerate(samples.tolist()):
            crc = CRC16_TABLE[(crc >> 8) ^ byte] ^ (crc << 8 & 0xFF00)
            whitened[place] = crc >> 8
        self._crc = crc
        return whitened

    def _gather(self, samples: Samples) -> None:
        """Append while the pool is not full; then stir, adding to what lies there."""
        room = samples.size
        if self._count <= POOL_BYTES:
            room = min(room, POOL_BYTES - self._count)
        places = (self._in + np.arange(room)) % POOL_BYTES
        self._pool[places] = samples[:room]  # of a wrapped count the last write counts
        self._in = (self._in + room) % POOL_BYTES
        self._count = (self._count + room) % COUNT_LIMIT
        rest = samples[room:]
        for start in range(0, rest.size, POOL_BYTES):
            piece = rest[start : start + POOL_BYTES]
            places = (self._stir + np.arange(piece.size)) % POOL_BYTES
            self._pool[places] ^= piece
            self._stir = (self._stir + piece.size) % POOL_BYTES


def _crc16_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (CRC16_POLYNOMIAL if crc & 0x8000 else 0)) & 0xFFFF
        table.append(crc)
    return tuple(table)


CRC16_TABLE = _crc16_table()
