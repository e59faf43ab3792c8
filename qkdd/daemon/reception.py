"""The listener for applications: key delivery over HTTPS, and new settings while it runs."""

import trio

from qkdd.config import host_and_port
from qkdd.daemon.key_office import KeyOffice
from qkdd.deliver.settings import DeliverySettings
from qkdd.deliver.tally import CallFacts
from qkdd.keys.settings import StoreSettings
from qkdd.net.delivery import Delivery
from qkdd.net.https import HttpsServer
from qkdd.net.trust import TrustKeeper


class Reception:
    """Serves the office's keys to the SAEs of ``settings``, as far as ``trust`` lets them in."""

    def __init__(
        self,
        office: KeyOffice,
        settings: DeliverySettings,
        limits: StoreSettings,
        trust: TrustKeeper,
    ) -> None:
        self._office = office
        self._address = settings.listen
        self._trust = trust
        self._delivery = Delivery(office, settings, limits)
        self._server = HttpsServer(
            self._delivery.handle,
            known=settings.homes,
            max_connections_per_sae=settings.max_connections_per_sae,
            revoked=trust.now.revoked,
        )

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        host, port = host_and_port(self._address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._delivery.log.run)
            await self._server.serve(host, port, self._trust.now.serving, task_status=task_status)

    def facts(self) -> tuple[CallFacts, ...]:
        """How applications were answered since the start."""
        return self._delivery.tally.facts()

    def take(self, settings: DeliverySettings) -> None:
        """Serve by these settings, and by what is trusted now; the address stays."""
        self._office.take(settings)
        self._delivery.take(settings)
        self._server.replace(
            self._trust.now.serving,
            known=settings.homes,
            max_connections_per_sae=settings.max_connections_per_sae,
            revoked=self._trust.now.revoked,
        )
