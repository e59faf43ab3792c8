"""The composition root: one relay, built of its rooms and run until it is told to stop."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import structlog
import trio

from qkdd.base.agreement import agreement
from qkdd.base.entropy import Entropy
from qkdd.base.ids import LinkId, NodeId
from qkdd.config import Link, Relay, host_and_port
from qkdd.daemon import metrics
from qkdd.daemon.audit import audited
from qkdd.daemon.control import Control
from qkdd.daemon.distil import DistilSettings
from qkdd.daemon.hardening import harden, settle
from qkdd.daemon.kernels import tell_backends
from qkdd.daemon.key_rooms import KeyRooms, key_rooms
from qkdd.daemon.lane_desk import LaneDesk
from qkdd.daemon.lanes import Lanes
from qkdd.daemon.link import LinkService
from qkdd.daemon.link_end import LinkEnd
from qkdd.daemon.overview import LinkAccount, gather, relay_snapshot
from qkdd.daemon.reception import Reception
from qkdd.daemon.reload import Reloader, trust_files
from qkdd.daemon.secret_files import BOARD_KEY_BYTES, MASTER_KEY_BYTES, read_secret
from qkdd.daemon.service_manager import NOBODY, ServiceManager
from qkdd.daemon.snapshot import RelaySnapshot
from qkdd.daemon.status import LinkStatus, in_one_line
from qkdd.daemon.status_socket import serve_status
from qkdd.daemon.store_service import StoreService
from qkdd.daemon.turnover import Terms, Turnover
from qkdd.daemon.watchdog import Loop, ask_store, tell_life
from qkdd.keys.store import KeyStore
from qkdd.net.plain_http import serve_page
from qkdd.net.settings import MetricsSettings
from qkdd.net.trust import TrustKeeper, read_trust
from qkdd.station.entropy import CheckedEntropy, open_entropy

log = structlog.get_logger(__name__)


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one end may announce the other must hold: a difference would cost the session."""

    max_keys_per_request: int
    max_key_size_bits: int


async def run_relay(
    relay: Relay, manager: ServiceManager = NOBODY, reread: Callable[[], Relay] | None = None
) -> None:
    """Run a relay until SIGTERM or SIGINT; ``manager`` hears once everything listens.

    SIGHUP takes over what may change of the configuration, which ``reread`` reads again.
    """
    harden()
    tell_backends()
    async with (
        open_entropy(relay.entropy) as entropy,
        open_store(relay, entropy) as store,
        audited(relay.store.path),
    ):
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                start = partial(_serve, reread=reread or (lambda: relay))
                control = await nursery.start(start, relay, store, entropy, manager)
                settle()
                log.info("relay ready", node=relay.node.id, links=len(relay.links))
                manager.tell("READY=1")
                nursery.start_soon(_until_over, control, nursery.cancel_scope)
                async for number in signals:
                    if number == signal.SIGHUP:
                        await control.carry_out("reload")
                        continue
                    log.info("stopping", signal=signal.Signals(number).name)
                    manager.tell("STOPPING=1")
                    nursery.cancel_scope.cancel()
                    break


async def _until_over(control: Control, relay: trio.CancelScope) -> None:
    await control.over.wait()
    relay.cancel()


@asynccontextmanager
async def open_store(relay: Relay, entropy: Entropy) -> AsyncIterator[KeyStore]:
    """Open the key store with its master key, and close it after the last user."""
    settings = relay.store
    with read_secret(settings.master_key, MASTER_KEY_BYTES, "master key") as master_key:
        store = KeyStore.open(settings.path, master_key, NodeId(relay.node.id), entropy, settings)
    try:
        yield store
    finally:
        store.close()


async def _serve(
    relay: Relay,
    key_store: KeyStore,
    entropy: CheckedEntropy,
    manager: ServiceManager,
    *,
    reread: Callable[[], Relay],
    task_status: trio.TaskStatus[Control] = trio.TASK_STATUS_IGNORED,
) -> None:
    store = StoreService(key_store)
    trust = TrustKeeper(read_trust(trust_files(relay.node)))
    statuses = {LinkId(link.name): _link_status(link) for link in relay.links}
    accounts = {name: LinkAccount({}, 0) for name in statuses}
    links = {link.peer: LinkId(link.name) for link in relay.links}
    lane_desk = LaneDesk(
        NodeId(relay.node.id), relay.delivery.homes, relay.lane_times, relay.places
    )
    lanes = Lanes(relay.places, links, relay.lane_times, store, lane_desk, entropy=entropy)
    rooms = key_rooms(
        NodeId(relay.node.id),
        {NodeId(peer): link for peer, link in links.items()},
        store,
        relay.delivery,
        relay.store,
        lane_desk,
        routes=[*(one.nodes for one in relay.routes), *(one.route for one in relay.lanes)],
        entropy=entropy,
        rate=lambda link: statuses[link].secret_bits_per_s(trio.current_time()),
    )
    reception = Reception(rooms.office, relay.delivery, relay.store, trust)
    takers = (reception.take, lane_desk.take)
    services = {
        link.name: _link_service(
            relay, link, store, rooms, lanes, statuses[LinkId(link.name)], entropy, trust
        )
        for link in relay.links
    }

    def offer(new: Relay) -> int:
        return sum(services[link.name].offer(_terms(new, link)) for link in new.links)

    control = Control(relay, manager, Reloader(relay, reread, trust, takers, offer), store)
    started_s = trio.current_time()
    snapshot = partial(
        relay_snapshot, relay, statuses, accounts, lanes, reception, entropy, started_s
    )
    async with trio.open_nursery() as users:
        await users.start(store.run)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(gather, store, accounts)
                socket = relay.node.status_socket
                await nursery.start(serve_status, socket, snapshot, control.carry_out)
                await nursery.start(lanes.run)
                await nursery.start(reception.run)
                if relay.metrics is not None:
                    await nursery.start(_serve_metrics, relay.metrics, snapshot)
                for service in services.values():
                    await nursery.start(service.run)
                nursery.start_soon(rooms.hops.expire)
                if manager.address is not None:
                    nursery.start_soon(_live, manager, store, statuses)
                task_status.started(control)
        finally:
            store.stop()


async def _live(
    manager: ServiceManager, store: StoreService, statuses: dict[LinkId, LinkStatus]
) -> None:
    """Tell the service manager how the links are, and that all that must turn does."""
    writer = Loop()
    loops = {"store": writer, **{f"light of {name}": one.light for name, one in statuses.items()}}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_store, store, writer)
        nursery.start_soon(tell_life, manager, loops, lambda: in_one_line(statuses.values()))


async def _serve_metrics(
    settings: MetricsSettings,
    snapshot: Callable[[], RelaySnapshot],
    *,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    host, port = host_and_port(settings.listen)
    await serve_page(
        host,
        port,
        metrics.PATH,
        metrics.CONTENT_TYPE,
        lambda: metrics.metrics_text(snapshot()),
        task_status=task_status,
    )


def _link_service(
    relay: Relay,
    link: Link,
    store: StoreService,
    rooms: KeyRooms,
    lanes: Lanes,
    status: LinkStatus,
    entropy: Entropy,
    trust: TrustKeeper,
) -> LinkService:
    terms = _terms(relay, link)
    board_key = None
    if link.transmitter is not None:
        path = link.transmitter.encoder.key_file
        board_key = read_secret(path, BOARD_KEY_BYTES, "board key")
    end = LinkEnd(
        config=link,
        settings=terms.settings,
        ours=terms.ours,
        store=store,
        rooms=rooms,
        lanes=lanes,
        status=status,
        entropy=entropy,
        board_key=board_key,
        turnover=Turnover(terms),
    )
    return LinkService(NodeId(relay.node.id), end, trust)


def _terms(relay: Relay, link: Link) -> Terms:
    """What this end of a link holds to."""
    settings = DistilSettings(
        LinkId(link.name), link.light, link.intensities, link.reconcile, link.proof
    )
    ours = agreement(
        light=link.light,
        intensities=link.intensities,
        frames=link.frames,
        reconcile=link.reconcile,
        proof=link.proof,
        keys=KeyLimits(
            max_keys_per_request=relay.store.max_keys_per_request,
            max_key_size_bits=relay.store.max_key_size_bits,
        ),
        carried=relay.carried(link),
    )
    return Terms(link, settings, ours)


def _link_status(link: Link) -> LinkStatus:
    return LinkStatus(
        name=link.name,
        peer=link.peer,
        role=link.role,
        eps_year_limit=link.max_epsilon_per_year,
    )
