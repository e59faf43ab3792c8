"""Any VISA resource as a transport: pyvisa in one worker thread, in short steps.

The vendor's VISA library serves if there is one, pyvisa-py otherwise. What was learnt the hard
way: a VISA call cannot be cancelled, so none may last longer than `VISA_TIMEOUT_MS`; on a socket
pyvisa-py throws away what it has read when a call times out, unless VI_ATTR_SUPPRESS_END_EN is
off; it does not notice that a peer is gone before the next write, and reports that as a bare
OSError. A tag stream does not belong here (at most 0.1 MB/s on ASRL).
"""

import threading

import pyvisa
import trio
from pyvisa.constants import ResourceAttribute, StatusCode
from pyvisa.errors import Error as PyvisaError
from pyvisa.errors import VisaIOError
from pyvisa.resources import MessageBasedResource

from drivers.errors import NoReply

VISA_TIMEOUT_MS = 250
OPEN_TIMEOUT_MS = 2000
READ_BYTES = 20 * 1024  # larger reads are slower through pyvisa-py's sockets


class VisaTransport:
    def __init__(self, resource: MessageBasedResource, *, name: str) -> None:
        self._resource = resource
        self._name = name
        self._one_call = trio.CapacityLimiter(1)
        self._closed = threading.Event()

    async def send(self, data: bytes) -> None:
        try:
            await trio.to_thread.run_sync(self._resource.write_raw, data, limiter=self._one_call)
        except (PyvisaError, OSError) as error:
            raise NoReply(f"{self._name}: cannot write: {error}") from error

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        while True:
            data = await trio.to_thread.run_sync(
                self._read, min(max_bytes, READ_BYTES), limiter=self._one_call
            )
            if data:
                return data

    def receive_waiting(self, max_bytes: int) -> bytes:
        """Every read of VISA may wait: there is nothing without."""
        return b""

    @property
    def room_bytes(self) -> int:
        return 0

    async def aclose(self) -> None:
        self._closed.set()
        with trio.CancelScope(shield=True):  # ends: no call lasts longer than its VISA timeout
            await trio.to_thread.run_sync(self._close, limiter=self._one_call)

    def _read(self, max_bytes: int) -> bytes:
        if self._closed.is_set():
            raise NoReply(f"{self._name}: closed")
        try:
            with self._resource.ignore_warning(StatusCode.success_max_count_read):
                data, _ = self._resource.visalib.read(self._resource.session, max_bytes)
        except VisaIOError as error:
            if error.error_code == StatusCode.error_timeout:
                return b""
            raise NoReply(f"{self._name}: cannot read: {error}") from error
        except (PyvisaError, OSError) as error:
            raise NoReply(f"{self._name}: cannot read: {error}") from error
        return bytes(data)

    def _close(self) -> None:
        try:
            self._resource.close()
        except (PyvisaError, OSError):  # it was gone already, which is what we want
            return


def _open(resource: str, baud: int) -> MessageBasedResource:
    try:
        manager = pyvisa.ResourceManager("@ivi")
    except (OSError, ValueError):
        manager = pyvisa.ResourceManager("@py")
    try:
        opened = manager.open_resource(
            resource, open_timeout=OPEN_TIMEOUT_MS, resource_pyclass=MessageBasedResource
        )
    except Exception as error:  # pyvisa-py has a bare Exception("could not connect: ...")
        raise NoReply(f"{resource}: cannot open: {error}") from error
    assert isinstance(opened, MessageBasedResource)
    opened.timeout = VISA_TIMEOUT_MS
    if resource.upper().endswith("::SOCKET"):
        opened.read_termination = "\n"  # a line returns at once; the rest at the end of a step
        opened.set_visa_attribute(ResourceAttribute.suppress_end_enabled, False)
    elif resource.upper().startswith("ASRL"):
        opened.set_visa_attribute(ResourceAttribute.asrl_baud_rate, baud)
    return opened


async def open_visa(resource: str, *, baud: int, name: str) -> VisaTransport:
    """Open a resource; that it really answers shows only with the first query."""
    opened = await trio.to_thread.run_sync(_open, resource, baud)
    return VisaTransport(opened, name=name)
