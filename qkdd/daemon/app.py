"""The composition root: one relay, built of its rooms and run until it is told to stop."""

import ctypes
import os
import resource
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import msgspec
import structlog
import trio

from qkdd.base.agreement import agreement
from qkdd.base.entropy import Entropy
from qkdd.base.errors import ConfigError, StoreError
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.config import Link, Relay, host_and_port
from qkdd.daemon import metrics
from qkdd.daemon.audit import audited
from qkdd.daemon.beat import next_beat
from qkdd.daemon.clock import Clock
from qkdd.daemon.control import Control
from qkdd.daemon.distil import DistilSettings
from qkdd.daemon.kernels import kernel_backends, tell_backends
from qkdd.daemon.key_rooms import KeyRooms, key_rooms
from qkdd.daemon.lane_desk import LaneDesk
from qkdd.daemon.lanes import Lanes
from qkdd.daemon.link import LinkService
from qkdd.daemon.reception import Reception
from qkdd.daemon.reload import Reloader, trust_files
from qkdd.daemon.service_manager import NOBODY, ServiceManager
from qkdd.daemon.session import LinkEnd
from qkdd.daemon.status import LinkStatus, RelaySnapshot, in_one_line, serve_status
from qkdd.daemon.store_service import StoreService
from qkdd.daemon.turnover import Terms, Turnover
from qkdd.daemon.watchdog import Loop, ask_store, tell_life
from qkdd.keys.store import KeyStore
from qkdd.net.plain_http import serve_page
from qkdd.net.settings import MetricsSettings
from qkdd.net.trust import TrustKeeper, read_trust
from qkdd.station.entropy import CheckedEntropy, open_entropy

log = structlog.get_logger(__name__)

MASTER_KEY_BYTES = 32
BOARD_KEY_BYTES = 32
STRANGERS = stat.S_IRWXO | stat.S_IWGRP
"""Rights that a key file may not give. Reading by the group may be: systemd shows the access list
of a credential so."""
SWITCH_INTERVAL_S = 0.0005
"""The loop must not wait 5 ms for a thread that holds the interpreter between two kernels."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
MAPPED_FROM_BYTES = 256 * 1024
KEPT_FREE_BYTES = 2 * 1024 * 1024
"""At the top of each arena: with glibc's 128 KiB, every batch of tags would give its pages back
and have them made anew, which costs as much as the work on it."""
MALLOC_ARENAS = 2


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one end may announce the other must hold: a difference would cost the session."""

    max_keys_per_request: int
    max_key_size_bits: int


@dataclass(slots=True)
class LinkAccount:
    """The last account that the store told, for snapshots between two askings."""

    bits: dict[str, int]
    auth_left_bits: int


async def run_relay(
    relay: Relay, manager: ServiceManager = NOBODY, reread: Callable[[], Relay] | None = None
) -> None:
    """Run a relay until SIGTERM or SIGINT; ``manager`` hears once everything listens.

    SIGHUP takes over what may change of the configuration, which ``reread`` reads again.
    """
    _harden()
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
    snapshot = partial(_snapshot, relay, statuses, accounts, lanes, entropy, started_s)
    async with trio.open_nursery() as users:
        await users.start(store.run)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(_gather, store, accounts)
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


def read_secret(path: Path, n_bytes: int, what: str, *, guarded: bool = True) -> Secret:
    """Read a key file of exactly ``n_bytes``; a ``guarded`` one must be closed to strangers.

    Raises
    ------
    ConfigError
        Naming the file, what it should be and what it is.
    """
    secret = Secret(n_bytes)
    try:
        with path.open("rb", buffering=0) as file:
            size, mode = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_mode
            n_read = file.readinto(secret.reveal())
    except OSError as error:
        raise ConfigError(f"cannot read the {what} {path}: {error.strerror}") from error
    if size != n_bytes or n_read != n_bytes:
        raise ConfigError(f"the {what} {path} has {size} bytes, must have {n_bytes}")
    if guarded and mode & STRANGERS:
        raise ConfigError(
            f"the {what} {path} has mode {stat.S_IMODE(mode):04o}: others may read it or its group "
            "write it; chmod 600"
        )
    return secret


def _link_status(link: Link) -> LinkStatus:
    return LinkStatus(
        name=link.name,
        peer=link.peer,
        role=link.role,
        eps_year_limit=link.max_epsilon_per_year,
    )


async def _gather(
    store: StoreService,
    accounts: dict[LinkId, LinkAccount],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Ask the store for every link's account, once a second.

    A store that does not tell at the start ends the start. Later it may have its trouble, which
    the links meet themselves; an account that does not balance is for the operator.
    """
    await _ask_accounts(store, accounts)
    task_status.started()
    told = ""
    while True:
        await next_beat()
        try:
            await _ask_accounts(store, accounts)
            told = ""
        except StoreError as error:
            if str(error) != told:
                told = str(error)
                log.error("the store does not tell its accounts", reason=told)


async def _ask_accounts(store: StoreService, accounts: dict[LinkId, LinkAccount]) -> None:
    """All of them in one turn of the store: it costs as much as ten questions in it."""
    told = await store.do(
        lambda store: [(store.account(link), store.auth_left(link)) for link in accounts]
    )
    for account, (bits, left) in zip(accounts.values(), told, strict=True):
        account.bits = asdict(bits)
        account.auth_left_bits = 8 * (left.tx + left.rx)


def _snapshot(
    relay: Relay,
    statuses: dict[LinkId, LinkStatus],
    accounts: dict[LinkId, LinkAccount],
    lanes: Lanes,
    entropy: CheckedEntropy,
    started_s: float,
) -> RelaySnapshot:
    return RelaySnapshot(
        node=relay.node.id,
        pid=os.getpid(),
        uptime_s=trio.current_time() - started_s,
        wall_s=time.time(),
        kernels=kernel_backends(),
        entropy_failure=entropy.failure,
        links=tuple(
            statuses[LinkId(link.name)].snapshot(
                trio.current_time(),
                account=accounts[LinkId(link.name)].bits,
                auth_left_bits=accounts[LinkId(link.name)].auth_left_bits,
                promised_bits_per_s=link.promised_bits_per_s,
            )
            for link in relay.links
        ),
        lanes=lanes.snapshot(),
        clock=Clock(relay.lane_times).reading().reason,
    )


def _harden() -> None:
    """No core dumps, short turns of the interpreter, and freed blocks back to the system.

    glibc would raise its limit for mapped blocks to 32 MB after the first large one is freed, and
    then keep both the memory and what was in it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
        mallopt(M_ARENA_MAX, MALLOC_ARENAS)
