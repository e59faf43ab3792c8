"""What a link may spend of epsilon in a year, and what happens when it is spent."""

import datetime
from collections.abc import Callable

import structlog

from qkdd.amplify.settings import ProofSettings
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.distil import Committer, Work
from qkdd.daemon.store_service import StoreService
from qkdd.keys.epsilon_book import EpsilonYear

log = structlog.get_logger(__name__)


def this_year() -> int:
    return datetime.datetime.now(datetime.UTC).year


class EpsilonLimit:
    """Stands before a link's blocks: what a block costs is on disk before its fate is decided.

    At the limit blocks are given up, at both ends and with the reason; the light and the delivery
    of what is there go on.
    """

    def __init__(
        self,
        link: LinkId,
        proof: ProofSettings,
        limit: float,
        store: StoreService,
        told: Callable[[EpsilonYear], None],
    ) -> None:
        self._link = link
        self._proof = proof
        self._limit = limit
        self._store = store
        self._told = told
        self._alarmed = False

    async def look(self) -> None:
        """Tell what has been spent so far."""
        year = this_year()
        self._told(await self._store.do(lambda store: store.epsilon_spent(self._link, year)))

    async def spend(self) -> None:
        """Count one block.

        Raises
        ------
        BlockGone
            If that would pass the limit of the year.
        """
        proof, year, limit = self._proof, this_year(), self._limit
        spent = await self._store.do(
            lambda store: store.spend_epsilon(self._link, year, proof.eps_sec, proof.eps_cor, limit)
        )
        if spent is not None:
            self._told(spent)
            return
        reason = f"epsilon of the year is spent: one more block would pass {limit:g}"
        if not self._alarmed:
            self._alarmed = True
            log.error("epsilon spent", link=self._link, reason=reason)
        raise BlockGone(reason)


class CountedBlocks:
    """Counts each block before anything is decided about it, and has a committer take what comes.

    Blocks of which nothing comes count too: an attack that has most blocks given up has its
    chances in all of them.
    """

    def __init__(self, limit: EpsilonLimit, inner: Committer) -> None:
        self._limit = limit
        self._inner = inner

    async def begin_block(self) -> None:
        await self._limit.spend()

    async def commit_block(self, work: Work, key: Secret, auth_bytes: int) -> bool:
        return await self._inner.commit_block(work, key, auth_bytes)
