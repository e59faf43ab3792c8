"""What an operator may have a running relay do: words on its status socket, and SIGHUP."""

import time

import structlog

from qkdd.base.errors import ConfigError
from qkdd.daemon.reload import Reloader
from qkdd.daemon.service_manager import ServiceManager
from qkdd.daemon.status import Answer

log = structlog.get_logger(__name__)


class Control:
    """Carries out one word at a time; the service manager hears of a reload as it likes it
    (sd_notify(3): RELOADING=1 with MONOTONIC_USEC, then READY=1)."""

    def __init__(self, manager: ServiceManager, reloader: Reloader) -> None:
        self._manager = manager
        self._reloader = reloader

    async def carry_out(self, word: str) -> Answer:
        if word == "reload":
            return self._reload()
        log.warning("unknown command on the status socket", command=word[:64])
        return Answer(ok=False, text="this relay knows no such command")

    def _reload(self) -> Answer:
        self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            return Answer(ok=True, text=self._reloader.reload())
        except ConfigError as error:
            return Answer(ok=False, text=str(error))
        finally:
            self._manager.tell("READY=1")
