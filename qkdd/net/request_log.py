"""What was asked, in one line a second for each application, method and status.

A line for each of a thousand requests a second would cost as much as the rest of the edge, and
journald, which takes 10,000 lines in 30 s of a service and drops the rest, would drop alarms with
them.
"""

from collections import Counter

import structlog
import trio

log = structlog.get_logger(__name__)

LINE_EVERY_S = 1.0


class RequestLog:
    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._asked = trio.Event()

    def count(self, sae: str, method: str, status: int) -> None:
        self._counts[sae, method, status] += 1
        self._asked.set()

    def write(self) -> None:
        """Write what was counted since the last time."""
        for (sae, method, status), number in self._counts.items():
            log.info("key requests", sae=sae, method=method, status=status, n_requests=number)
        self._counts.clear()

    async def run(self) -> None:
        """Write until cancelled, and once more then."""
        try:
            while True:
                await self._asked.wait()
                await trio.sleep(LINE_EVERY_S)
                self._asked = trio.Event()
                self.write()
        finally:
            self.write()
