"""TCP ports that stay free until somebody listens on them, and again after a restart."""

import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_PORT, USUAL_LAST_PORT = 10_240, 32_767


def lasting_ports(number: int) -> list[int]:
    """Find so many ports on loopback below those that the system gives to outgoing connections.

    One of those could be taken by a neighbour's connection before its listener has started.

    Raises
    ------
    OSError
        There are not so many.
    """
    last = _last_port()
    candidates = list(range(FIRST_PORT, last + 1))
    random.shuffle(candidates)  # so that two networks that start together seldom meet
    found: list[int] = []
    for port in candidates:
        if len(found) == number:
            break
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    if len(found) < number:
        raise OSError(f"{number} free ports wanted from {FIRST_PORT} to {last}: {len(found)} found")
    return found


def _last_port() -> int:
    try:
        return int(RANGE.read_text().split()[0]) - 1
    except OSError:
        return USUAL_LAST_PORT
