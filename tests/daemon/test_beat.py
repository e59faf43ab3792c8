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


async def test_who_waits_first_for_a_beat_may_be_cancelled(autojump_clock) -> None:
    woken: list[tuple[str, float]] = []

    async def wait(name: str) -> None:
        await next_beat()
        woken.append((name, trio.current_time()))

    await trio.sleep(0.5)
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(4)]

        async def wait_in(scope: trio.CancelScope, name: str) -> None:
            with scope:
                await wait(name)

        for scope, name in zip(scopes, "abcd", strict=True):
            nursery.start_soon(wait_in, scope, name)
            await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()
        scopes[2].cancel()
        await trio.testing.wait_all_tasks_blocked()
        scopes[1].cancel()
    assert woken == [("d", 1.0)]
    await wait("e")
    assert woken[1:] == [("e", 2.0)]


async def test_beats_of_several_lengths_that_meet_are_one(autojump_clock) -> None:
    turns: list[tuple[str, float, int]] = []
    counter = TurnCounter()
    trio.lowlevel.add_instrument(counter)

    async def beat(name: str, every_s: float) -> None:
        with trio.move_on_at(1.9):
            while True:
                await next_beat(every_s)
                turns.append((name, trio.current_time(), counter.n_turns))

    async with trio.open_nursery() as nursery:
        for name, every_s in (("quarter", 0.25), ("half", 0.5), ("whole", 1.0)):
            nursery.start_soon(beat, name, every_s)
    trio.lowlevel.remove_instrument(counter)
    assert sorted(name for name, time_s, _ in turns if time_s == 1.0) == [
        "half",
        "quarter",
        "whole",
    ]
    assert len({turn for _, time_s, turn in turns if time_s == 1.0}) == 1
    assert [time_s for name, time_s, _ in turns if name == "quarter"] == [
        0.25 * n for n in range(1, 8)
    ]


class TurnCounter(trio.abc.Instrument):
    def __init__(self) -> None:
        self.n_turns = 0

    def before_io_wait(self, timeout: float) -> None:
        self.n_turns += 1
