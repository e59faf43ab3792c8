"""The ways to an instrument, chosen by its resource string.

========================================  =====================================================
``tcp://host:port``                       a TCP byte stream, natively in trio
``TCPIP::host::port::SOCKET``             the same: through VISA each call would take a thread
``serial:/dev/x``                         a serial device or pty, natively in trio
``ASRL/dev/x::INSTR``                     the same: pyvisa-py would read it a byte per call
anything else, as ``GPIB0::28::INSTR``    VISA: the vendor's library, or pyvisa-py
========================================  =====================================================
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from drivers.transport import Transport

CLOSE_TIMEOUT_S = 2.0

_TCP = re.compile(r"tcp://(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})\Z")
_SOCKET = re.compile(r"TCPIP\d*::(?P<host>[^:/\[\]]+)::(?P<port>\d{1,5})::SOCKET\Z", re.IGNORECASE)
_SERIAL = re.compile(r"serial:(?P<path>.+)\Z")
_ASRL_PATH = re.compile(r"ASRL(?P<path>/.+?)::INSTR\Z", re.IGNORECASE)
_VISA = re.compile(r"(TCPIP|GPIB|USB|ASRL|PRLGX-)[\w-]*::.+\Z", re.IGNORECASE)


@asynccontextmanager
async def open_transport(resource: str, *, baud: int = 115200) -> AsyncIterator[Transport]:
    """Open the way to an instrument; errors name it by its resource string.

    Parameters
    ----------
    resource : str
        See the table above.
    baud : int
        For serial lines; eight bits, no parity, no flow control.

    Raises
    ------
    NoReply
        If the way cannot be opened.
    ValueError
        If ``resource`` is of no known form.
    """
    transport = await _open(resource, baud)
    try:
        yield transport
    finally:
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await transport.aclose()


def check_resource(resource: str) -> None:
    """Raise ValueError if ``resource`` is of no known form."""
    if not any(form.match(resource) for form in (_TCP, _SERIAL, _ASRL_PATH, _VISA)):
        raise ValueError(
            f"resource {resource!r} is none of tcp://HOST:PORT, serial:PATH, or a VISA resource "
            "such as TCPIP::HOST::PORT::SOCKET or GPIB0::28::INSTR"
        )


async def _open(resource: str, baud: int) -> Transport:
    check_resource(resource)
    if match := _TCP.match(resource) or _SOCKET.match(resource):
        from drivers.transports.tcp import open_tcp

        groups = match.groupdict()
        host = groups.get("v6") or groups["host"]
        return await open_tcp(host, int(match["port"]), name=resource)
    if match := _SERIAL.match(resource) or _ASRL_PATH.match(resource):
        from drivers.transports.serial_port import open_serial

        return await open_serial(match["path"], baud=baud, name=resource)
    # Imported late: pyvisa costs time and memory that a receiver's daemon never needs.
    from drivers.transports.visa import open_visa

    return await open_visa(resource, baud=baud, name=resource)
