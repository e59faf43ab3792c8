"""The demonstration's hold on its processes: whoever dies in mid-word has not answered."""

import socket
from pathlib import Path

import trio
import trio.testing

from qkdd.cli.demo.processes import ask_status


async def test_a_relay_that_dies_while_it_is_asked_has_not_answered(tmp_path: Path) -> None:
    path = tmp_path / "qkdd.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    answers: list[bytes | None] = []

    async def ask() -> None:
        answers.append(await ask_status(path))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            listener.close()  # what was not yet accepted is reset
    assert answers == [None]
