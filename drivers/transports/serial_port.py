"""A serial device or pty as a transport: pyserial sets the line, trio reads the descriptor.

pyserial's own reads would block a thread; a non-blocking descriptor under trio is as fast and can
be cancelled. Eight data bits, no parity, one stop bit, raw, no flow control of any kind: with
CRTSCTS on, a TDC1 stores what was sent to it at random (its readevents4a.c).
"""

import os
import termios

import serial
import trio

from drivers.errors import NoReply

ROOM_BYTES = 1 << 12
"""The kernel's line discipline holds so much; what lies before it differs from driver to driver."""


class SerialTransport:
    def __init__(self, port: serial.Serial, *, name: str) -> None:
        self._port = port  # holds the lock that keeps other programs out
        self._stream = trio.lowlevel.FdStream(os.dup(port.fileno()))
        self._name = name

    async def send(self, data: bytes) -> None:
        """What the line takes at once costs no turn of the loop."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            n_sent = os.write(self._stream.fileno(), data)
        except BlockingIOError:
            n_sent = 0
        except OSError as error:
            raise NoReply(f"{self._name}: the device is gone") from error
        if n_sent == len(data):
            return
        try:
            await self._stream.send_all(memoryview(data)[n_sent:])
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise NoReply(f"{self._name}: the device is gone") from error

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        """Whoever has asked waits first: to look before costs a system call that finds nothing."""
        data = b""
        while not data:
            if self._stream.fileno() < 0:  # trio would remember that somebody waits for it
                raise NoReply(f"{self._name}: closed")
            try:
                await trio.lowlevel.wait_readable(self._stream.fileno())
            except (OSError, trio.ClosedResourceError) as error:
                raise NoReply(f"{self._name}: the device is gone") from error
            data = self.receive_waiting(max_bytes)
        return data

    def receive_waiting(self, max_bytes: int) -> bytes:
        try:
            data = os.read(self._stream.fileno(), max_bytes)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise NoReply(f"{self._name}: the device is gone") from error
        if not data:
            raise NoReply(f"{self._name}: the device hung up")
        return data

    @property
    def room_bytes(self) -> int:
        return ROOM_BYTES

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)
        self._port.close()


def _open(path: str, baud: int) -> serial.Serial:
    port = serial.Serial(
        path,
        baud,
        bytesize=serial.EIGHTBITS,
        parity=serial.PARITY_NONE,
        stopbits=serial.STOPBITS_ONE,
        timeout=0,
        xonxoff=False,
        rtscts=False,
        dsrdtr=False,
        exclusive=True,
    )
    attributes = termios.tcgetattr(port.fileno())
    attributes[6][termios.VMIN] = 1  # pyserial's 0 makes silence look like the end of the file
    termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
    return port


async def open_serial(path: str, *, baud: int, name: str) -> SerialTransport:
    """Open ``path`` for ourselves alone.

    Raises
    ------
    NoReply
        If it is not there, is no terminal, or another program holds it.
    """
    try:
        port = await trio.to_thread.run_sync(_open, path, baud)
    except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError
        raise NoReply(f"{name}: cannot open: {error}") from error
    return SerialTransport(port, name=name)
