"""The ID1000 and its DataLinkTarget service together, as a bench has them and a lab serves them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from drivers.sim.config import ID1000Config
from drivers.sim.idq_datalink import DataLinkTarget
from drivers.sim.idq_id1000 import ID1000
from drivers.sim.serve_zmq import RepServer, StreamPorts

QUESTIONS = ("status", "list")
"""Of the service: what it has passed on, which does not change between two steps of the model."""

LOOPBACK = ("127.0.0.1", "localhost")


class TimeController:
    """Device and service; what the one sends, the other passes on in the same step."""

    def __init__(self, config: ID1000Config) -> None:
        self.device = ID1000(
            pulse_v=config.pulse_v,
            buffer_stamps=config.buffer_stamps,
            shortest_record_ms=config.shortest_record_ms,
            overflow_is_fatal=config.overflow_is_fatal,
        )
        self._device_place = host_and_port(config.listen)
        self._service_place = host_and_port(config.datalink)
        self._streams = StreamPorts(self._service_place[0])
        self.service = DataLinkTarget(
            addresses=addresses_of(self._device_place[0]),
            open_port=self._streams.open,
            max_queue_bytes=config.queue_bytes,
            message_of_empty_record=config.message_of_empty_record,
        )

    def advance(
        self, now_ps: int, times_ps: npt.NDArray[np.int64], channels: npt.NDArray[np.uint8]
    ) -> None:
        """Go on to ``now_ps`` of the device's clock; see :meth:`ID1000.advance`."""
        self.device.advance(now_ps, times_ps, channels)
        self.service.advance(now_ps * 1e-12)
        for packet in self.device.take():
            if not self.service.take(packet):
                self.device.undelivered(packet)

    def serve_device(self, catch_up: Callable[[], None]) -> RepServer:
        """Listen for SCPI; OSError if that cannot be.

        An order acts when it comes, and not at the end of a step.
        """

        def answer(message: str) -> str:
            if not is_question(message):
                catch_up()
            return self.device.receive(message)

        return RepServer(answer, *self._device_place)

    def serve_datalink(self, catch_up: Callable[[], None]) -> RepServer:
        """Listen for the service's commands; OSError if that cannot be."""

        def answer(command: str) -> str:
            if not command.startswith(QUESTIONS):
                catch_up()
            return self.service.receive(command)

        return RepServer(answer, *self._service_place, streams=self._streams)


def is_question(message: str) -> bool:
    """Whether it asks one thing and orders nothing: the answer is that of the last step."""
    return message.rstrip().endswith("?") and ";" not in message


def addresses_of(host: str) -> tuple[str, ...]:
    """What clients may call a device that listens on ``host``; empty: anything."""
    if host == "0.0.0.0":  # noqa: S104 compared, not bound
        return ()
    return LOOPBACK if host in LOOPBACK else (host,)


def host_and_port(listen: str) -> tuple[str, int]:
    """Of ``tcp:HOST:PORT``."""
    host, _, port = listen.removeprefix("tcp:").rpartition(":")
    return host, int(port)
