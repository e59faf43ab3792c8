"""A relay at one moment: what its links, lanes and store say, put together for whoever asks."""

import os
import time
from dataclasses import asdict, dataclass

import structlog
import trio

from qkdd.base.errors import StoreError
from qkdd.base.ids import LinkId
from qkdd.config import Relay
from qkdd.daemon.beat import next_beat
from qkdd.daemon.clock import Clock
from qkdd.daemon.kernels import kernel_backends
from qkdd.daemon.lanes import Lanes
from qkdd.daemon.reception import Reception
from qkdd.daemon.snapshot import RelaySnapshot
from qkdd.daemon.status import LinkStatus
from qkdd.daemon.store_service import StoreService
from qkdd.station.entropy import CheckedEntropy

log = structlog.get_logger(__name__)


LOOK_EVERY_S = 5.0
"""Where nothing was written and no key taken: a file can be damaged at rest."""


@dataclass(slots=True)
class LinkAccount:
    """The last account that the store told, for snapshots between two askings."""

    bits: dict[str, int]
    auth_left_bits: int


async def gather(
    store: StoreService,
    accounts: dict[LinkId, LinkAccount],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Ask the store for every link's account, once a second while something changes there.

    A store that does not tell at the start ends the start. Later it may have its trouble, which
    the links meet themselves; an account that does not balance is for the operator.
    """
    seen: tuple[int, int] | None = store.account_mark
    await _ask_accounts(store, accounts)
    task_status.started()
    asked_s, told = trio.current_time(), ""
    while True:
        await next_beat()
        if seen == store.account_mark and trio.current_time() < asked_s + LOOK_EVERY_S:
            continue
        seen, asked_s = store.account_mark, trio.current_time()
        try:
            await _ask_accounts(store, accounts)
            told = ""
        except StoreError as error:
            seen = None
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


def relay_snapshot(
    relay: Relay,
    statuses: dict[LinkId, LinkStatus],
    accounts: dict[LinkId, LinkAccount],
    lanes: Lanes,
    reception: Reception,
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
        delivery=reception.facts(),
        clock=Clock(relay.lane_times).reading().reason,
    )
