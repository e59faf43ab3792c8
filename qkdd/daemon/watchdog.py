"""Signs of life: the service manager hears one only while every loop that matters turns.

Not a thread that beats whatever happens: the store's writer must have answered, and the loop of
each end of light that is open must have turned. A link that is down has no loop to watch; its
waits are bounded where they are. No peer can make a loop silent for QUIET_S: a send to one that
no longer reads breaks after ``link.VANISHED_S``.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog
import trio

from qkdd.base.errors import StoreError
from qkdd.daemon.beat import next_beat
from qkdd.daemon.service_manager import ServiceManager, status_line
from qkdd.daemon.store_service import StoreService

log = structlog.get_logger(__name__)

QUIET_S = 20.0
"""A loop may be silent so long: the longest lawful wait is 15 s, for the receiver to be ready."""
SIGNS_PER_WATCHDOG = 3
STATUS_EVERY_S = 10.0


class Loop:
    """When a loop has last turned, while it is at work."""

    def __init__(self) -> None:
        self._turned_s: float | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be watched from here to the end of the block."""
        self._turned_s = trio.current_time()
        try:
            yield
        finally:
            self._turned_s = None

    def turn(self) -> None:
        if self._turned_s is not None:
            self._turned_s = trio.current_time()

    def silent_s(self) -> float:
        """Time since its last turn; 0 while it is not at work."""
        return 0.0 if self._turned_s is None else trio.current_time() - self._turned_s


async def ask_store(store: StoreService, loop: Loop) -> None:
    """Turn ``loop`` each time that the store's writer has answered, be it with a refusal."""
    with loop.at_work():
        while True:
            try:
                await store.do(lambda _store: None)
            except StoreError as error:
                log.debug("store refuses", reason=str(error))
            loop.turn()
            await next_beat()


async def tell_life(
    manager: ServiceManager, loops: Mapping[str, Loop], status: Callable[[], str]
) -> None:
    """Feed the watchdog while no loop is silent, and show the status when it has changed."""
    period_s = STATUS_EVERY_S
    if manager.watchdog_s is not None:
        period_s = min(period_s, manager.watchdog_s / SIGNS_PER_WATCHDOG)
    shown = ""
    while True:
        words = []
        if manager.watchdog_s is not None:
            silent = [name for name, loop in loops.items() if loop.silent_s() > QUIET_S]
            if silent:
                log.error("watchdog not fed", silent=silent, limit_s=QUIET_S)
            else:
                words.append("WATCHDOG=1")
        line = status_line(status())
        if line != shown:
            shown = line
            words.append(line)
        if words:
            manager.tell(*words)
        await trio.sleep(period_s)
