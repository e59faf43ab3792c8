"""TCP ports that stay free until somebody listens on them, and again after a restart."""

import random
import socket
from contextlib import suppress
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_PORT, LAST_PORT = 10_240, 65_535
USUAL_RANGE = (32_768, 60_999)


def lasting_ports(number: int) -> list[int]:
    """Find so many ports on loopback, outside those that the system gives to outgoing connections.

    One of those could be taken by a neighbour's connection before its listener has started; they
    come last, on a system that keeps nothing else.

    Raises
    ------
    OSError
        There are not so many.
    """
    given = _given_to_connections()
    candidates = list(range(FIRST_PORT, LAST_PORT + 1))
    random.shuffle(candidates)  # so that two networks that start together seldom meet
    candidates.sort(key=given.__contains__)
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
        raise OSError(
            f"{number} free ports wanted from {FIRST_PORT} to {LAST_PORT}: {len(found)} found"
        )
    return found


def _given_to_connections() -> range:
    first, last = USUAL_RANGE
    with suppress(OSError):
        first, last = (int(word) for word in RANGE.read_text().split())
    return range(first, last + 1)
