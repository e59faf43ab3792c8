"""Listening to an instrument changes nothing about the errors that come out of its use."""

import pytest
import trio
import trio.testing

from drivers.alongside import alongside
from drivers.errors import NoReply


class Listener:
    def __init__(self) -> None:
        self.listening = False

    async def listen(self) -> None:
        self.listening = True
        try:
            await trio.sleep_forever()
        finally:
            self.listening = False


async def test_it_listens_while_the_body_runs_and_no_longer():
    listener = Listener()
    async with alongside(listener.listen):
        await trio.testing.wait_all_tasks_blocked()
        assert listener.listening
    assert not listener.listening


async def test_an_error_of_the_body_comes_out_as_itself():
    listener = Listener()

    async def fail() -> None:
        async with alongside(listener.listen):
            await trio.testing.wait_all_tasks_blocked()
            raise NoReply("gone")

    with pytest.raises(NoReply, match="gone"):
        await fail()
    assert not listener.listening


async def test_a_listener_that_ends_early_ends_nothing_else():
    async def deaf() -> None:
        await trio.lowlevel.checkpoint()

    async with alongside(deaf):
        await trio.testing.wait_all_tasks_blocked()


async def test_a_cancel_from_outside_goes_through(autojump_clock):
    listener = Listener()
    with trio.move_on_after(1.0) as scope:
        async with alongside(listener.listen):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not listener.listening


async def test_a_cancel_while_the_body_fails_hides_nothing(autojump_clock):
    listener = Listener()

    async def fail_when_cancelled() -> None:
        with trio.move_on_after(1.0):
            async with alongside(listener.listen):
                try:
                    await trio.sleep_forever()
                finally:
                    raise NoReply("gone")

    with pytest.raises(NoReply, match="gone"):
        await fail_when_cancelled()
    assert not listener.listening
