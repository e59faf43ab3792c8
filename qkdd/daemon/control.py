"""What an operator may have a running relay do: words on its status socket, and SIGHUP."""

import time

import structlog
import trio

from qkdd.base.errors import ConfigError, StoreError
from qkdd.config import Relay
from qkdd.daemon.reload import Reloader
from qkdd.daemon.service_manager import ServiceManager
from qkdd.daemon.status_socket import Answer
from qkdd.daemon.store_service import StoreService
from qkdd.daemon.zeroise import destroy_keys, destroyed
from qkdd.keys.store import KeyStore

log = structlog.get_logger(__name__)


class Control:
    """Carries out one word at a time; the service manager hears of a reload as it likes it
    (sd_notify(3): RELOADING=1 with MONOTONIC_USEC, then READY=1)."""

    def __init__(
        self, relay: Relay, manager: ServiceManager, reloader: Reloader, store: StoreService
    ) -> None:
        self._relay = relay
        self._manager = manager
        self._reloader = reloader
        self._store = store
        self.over = trio.Event()
        """All keys are destroyed: the relay has nothing left to do."""

    async def carry_out(self, word: str) -> Answer:
        if word == "reload":
            return self._reload()
        if word == "zeroise":
            return await self._zeroise()
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

    async def _zeroise(self) -> Answer:
        """Destroy the master key first, without which the rest is worth nothing; then the store by
        its own writer, so that nothing is written behind; then whatever is left, and the light."""
        log.critical("zeroising: all keys are being destroyed")
        destroyed(self._relay.store.master_key)
        trouble = None
        try:
            await self._store.alone(KeyStore.zeroise)
        except StoreError as error:
            trouble = str(error)
        left = [one.path for one in destroy_keys(self._relay) if one.trouble is not None]
        self.over.set()
        if trouble or left:
            log.critical("zeroised in part", left=left, reason=trouble)
            return Answer(ok=False, text=f"not destroyed: {', '.join(left) or trouble}")
        log.critical("zeroised: all keys are destroyed")
        return Answer(ok=True, text="the relay has destroyed its keys")
