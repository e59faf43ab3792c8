"""Moonbase Otago OneRNG: avalanche noise over a USB serial port, open hardware and firmware.

Sources: the OneRNG project documentation (moonbaseotago.com/onerng, theory of operation) and the
published firmware's command table. Commands are ``cmd`` and one letter; there is no reply and no
prompt. Digits set the source: bit 0 leaves out the whitener, bit 1 adds radio noise, bit 2 takes
away the avalanche. ``O`` lets it send, ``o`` stops it, ``w`` empties its pool, ``v`` puts
``Version n`` between the noise. About 350 kbit/s; the avalanche diode gives 5 % more ones than
zeros, about 7 bits a byte. It stops by itself after eight bytes of 00 or FF in a row.
"""

import re

import trio

from drivers.errors import BadReply, NoReply
from drivers.identity import Identity
from drivers.transport import Reader, Transport

MODEL = "OneRNG"
BAUD = 9600
"""Of no meaning: it is USB."""
QUIET_S = 0.2
REPLY_TIMEOUT_S = 2.0
NOISE_TIMEOUT_S = 5.0
"""At 44 kB/s it has always something within milliseconds; the firmware's own stop is silence."""
VERSION_LIMIT_BYTES = 4096

PAUSE, RUN, FLUSH, VERSION = b"cmdo\n", b"cmdO\n", b"cmdw\n", b"cmdv\n"
RAW_AVALANCHE, SILENT = b"cmd1\n", b"cmd4\n"
_VERSION = re.compile(rb"Version (\d+)\r?\n")


class OneRng:
    """Driver of one OneRNG on a transport that it does not own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._reader = Reader(transport, name=MODEL)

    async def identity(self) -> Identity:
        """Stop whatever it does, and ask for its version.

        Raises
        ------
        NoReply
            If nothing comes.
        BadReply
            If what comes is no version: it is another device.
        """
        await self._silence()
        await self._transport.send(SILENT + FLUSH + VERSION + RUN)
        said, version = b"", None
        try:
            with trio.fail_after(REPLY_TIMEOUT_S):
                while version is None and len(said) <= VERSION_LIMIT_BYTES:
                    said += await self._transport.receive_some()
                    version = _VERSION.search(said)
        except trio.TooSlowError as error:
            if not said:
                raise NoReply(f"{MODEL}: no reply to {VERSION!r}") from error
        finally:
            with trio.move_on_after(QUIET_S, shield=True):
                await self._transport.send(PAUSE)
        if version is None:
            raise BadReply(f"expected a {MODEL}, but {said[:32]!r} answers")
        return Identity(model=MODEL, serial="", firmware=version[1].decode())

    async def start(self) -> None:
        await self._silence()
        await self._transport.send(RAW_AVALANCHE + FLUSH + RUN)

    async def read(self) -> bytes:
        """Return what has come.

        Raises
        ------
        NoReply
            If nothing comes: it is unplugged, or its own watch has found the diode stuck.
        """
        try:
            with trio.fail_after(NOISE_TIMEOUT_S):
                return await self._transport.receive_some()
        except trio.TooSlowError as error:
            raise NoReply(
                f"{MODEL}: no noise for {NOISE_TIMEOUT_S:g} s; its lamp blinks if the diode is "
                "stuck: pull it out and put it in again, or replace it"
            ) from error

    async def stop(self) -> None:
        await self._silence()

    async def _silence(self) -> None:
        await self._transport.send(PAUSE)
        await self._reader.drain(QUIET_S)
