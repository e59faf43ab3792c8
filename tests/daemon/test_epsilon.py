"""At the limit of the year a block is given up before it is key."""

from pathlib import Path

import pytest

from qkdd.amplify.settings import ProofSettings
from qkdd.base.ids import BlockNo
from qkdd.base.secret import Secret
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.distil import Work
from qkdd.daemon.epsilon import EpsilonLimit, LimitedCommit, this_year
from qkdd.keys.epsilon_book import EpsilonYear
from tests.daemon.desk_pair import LINK, desk_pair

PROOF = ProofSettings(eps_sec=1e-12, eps_cor=1e-15)


class Committed:
    """Takes every block."""

    def __init__(self) -> None:
        self.blocks: list[int] = []

    async def commit_block(self, work: Work, key: Secret, auth_bytes: int) -> bool:
        self.blocks.append(work.block_no)
        key.wipe()
        return True


async def test_blocks_are_counted_before_they_are_key_and_given_up_at_the_limit(
    tmp_path: Path,
) -> None:
    told: list[EpsilonYear] = []
    inner = Committed()
    async with desk_pair(tmp_path) as pair:
        service = pair.alice.service
        limit = EpsilonLimit(LINK, PROOF, 2.5e-12, service, told.append)
        await limit.look()
        commit = LimitedCommit(limit, inner)
        for number in (1, 2):
            assert await commit.commit_block(Work(BlockNo(number), 0, 0), Secret(32), 0)
        for number in (3, 4):
            key = Secret.from_bytes(b"k" * 32)
            with pytest.raises(BlockGone, match=r"epsilon of the year is spent.*2\.5e-12"):
                await commit.commit_block(Work(BlockNo(number), 0, 0), key, 0)
            assert key.wiped
        again = EpsilonLimit(LINK, PROOF, 1.0, service, told.append)
        await again.look()
    assert inner.blocks == [1, 2]
    assert [one.n_blocks for one in told] == [0, 1, 2, 2]
    assert told[-1].year == this_year()
    assert told[-1].total == pytest.approx(2 * 1.001e-12)
