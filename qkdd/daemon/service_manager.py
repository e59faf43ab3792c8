"""What the daemon tells its service manager (sd_notify(3)): ready, alive, how it is, stopping."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

MAX_STATUS_CHARS = 400


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Where it listens, and how long it waits for a sign of life; nobody, unless it said so."""

    address: str | None = None
    watchdog_s: float | None = None

    @classmethod
    def named_by(cls, environment: Mapping[str, str], pid: int) -> "ServiceManager":
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, as sd_watchdog_enabled(3) does."""
        address = environment.get("NOTIFY_SOCKET") or None
        period_us = environment.get("WATCHDOG_USEC", "")
        if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
            period_us = ""
        watchdog_s = int(period_us) / 1e6 if period_us.isdigit() and int(period_us) else None
        return cls(address, watchdog_s)

    def tell(self, *assignments: str) -> None:
        """Send ``NAME=value`` lines in one datagram; never waits, and what is lost is logged.

        A manager that hears nothing acts by itself: it counts the start as failed, or restarts us.
        """
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.setblocking(False)
                notify.connect(address)
                notify.sendall("\n".join(assignments).encode())
        except OSError as error:
            log.warning("the service manager does not hear", reason=str(error))


NOBODY = ServiceManager()


def status_line(text: str) -> str:
    """One line for ``systemctl status``: no line break, no control character, not too long."""
    words = "".join(one if one.isprintable() else " " for one in text).split()
    return "STATUS=" + " ".join(words)[:MAX_STATUS_CHARS]
