"""The relay's beat."""

import pytest
import trio

from qkdd.daemon.beat import next_beat
from tests.daemon.test_store_service import Log, note, serving


async def test_a_beat_is_the_next_whole_second_also_when_it_has_just_come(autojump_clock) -> None:
    await trio.sleep(0.3)
    for second in (1, 2, 3):
        await next_beat()
        assert trio.current_time() == pytest.approx(second)


async def test_all_that_is_asked_on_the_beat_shares_one_commit() -> None:
    log = Log()
    async with serving(log) as service, trio.open_nursery() as nursery:

        async def ask(name: str) -> None:
            await next_beat()
            await service.do(note(name))

        for name in "abc":
            nursery.start_soon(ask, name)
    assert (log.events[0], log.events[-1]) == ("begin", "commit")
    assert sorted(log.events[1:-1]) == ["a", "b", "c"]
