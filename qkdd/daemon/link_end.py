"""What every part of a session needs of its relay: one end of a link, and what is told of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from drivers.errors import InstrumentError
from qkdd.base.agreement import Agreed
from qkdd.base.entropy import Entropy
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.config import Link
from qkdd.daemon.distil import DistilSettings
from qkdd.daemon.epsilon import EpsilonLimit
from qkdd.daemon.key_rooms import KeyRooms
from qkdd.daemon.lanes import Lanes
from qkdd.daemon.snapshot import BlockFacts
from qkdd.daemon.status import LinkStatus
from qkdd.daemon.store_service import StoreService
from qkdd.daemon.supervise import supervise
from qkdd.daemon.turnover import Turnover
from qkdd.keys.epsilon_book import EpsilonYear

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """What a session needs of its relay."""

    config: Link
    settings: DistilSettings
    ours: Agreed
    store: StoreService
    rooms: KeyRooms
    lanes: Lanes
    status: LinkStatus
    entropy: Entropy
    board_key: Secret | None
    turnover: Turnover


async def keep_light(end: LinkEnd, service: Callable[[], Awaitable[None]]) -> None:
    """Run one end's light; an instrument that fails is opened afresh, the session goes on."""

    def failed(reason: str) -> None:
        end.status.enter("dark", reason)

    await supervise("light", service, restart_on=(InstrumentError,), failed=failed)


def epsilon_limit(end: LinkEnd) -> EpsilonLimit:
    """What the link of ``end`` may still spend this year."""

    def told(spent: EpsilonYear) -> None:
        end.status.epsilon_year = spent

    return EpsilonLimit(
        LinkId(end.config.name),
        end.config.proof,
        end.config.max_epsilon_per_year,
        end.store,
        told,
    )


def reporter(end: LinkEnd) -> Callable[[BlockFacts], None]:
    def report(facts: BlockFacts) -> None:
        end.status.distilled(facts, trio.current_time())
        log.info(
            "block distilled" if facts.n_secret_bits else "block without key",
            block_no=facts.block_no,
            n_sifted_bits=facts.n_sifted_bits,
            n_secret_bits=facts.n_secret_bits,
            qber=facts.qber_key,
            f_both_ways=facts.f_both_ways,
            reason=facts.reason,
        )

    return report


def voider(end: LinkEnd) -> Callable[[int, str], None]:
    def void(block_no: int, reason: str) -> None:
        end.status.gave_up(reason)
        log.warning("block void", block_no=block_no, reason=reason)

    return void
