"""The relay's own socket: a snapshot as JSON for who asks, and commands of one word."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio

from qkdd.daemon.snapshot import RelaySnapshot

WORD_TIMEOUT_S, SEND_TIMEOUT_S = 0.2, 2.0
MAX_WORD_BYTES = 64


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command."""

    ok: bool
    text: str


def read_answer(data: bytes) -> Answer:
    """Read what a relay has answered to a command.

    Raises
    ------
    msgspec.DecodeError
        If it is cut short, of another version, or no answer at all.
    """
    try:
        return msgspec.json.decode(data, type=Answer)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


Command = Callable[[str], Awaitable[Answer]]


async def serve_status(
    path: Path,
    snapshot: Callable[[], RelaySnapshot],
    command: Command | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer every connection once, as JSON, then close it. Owner only (0600).

    Who says nothing and ends its sentence is told one snapshot; a word is a ``command``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        await listening.bind(str(path))
    finally:
        os.umask(old_mask)
    listening.listen(8)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                word = await _word(stream)
                said = snapshot() if command is None or not word else await command(word)
                with trio.move_on_after(SEND_TIMEOUT_S):
                    await stream.send_all(msgspec.json.encode(said))
            except trio.BrokenResourceError:
                return  # the asker has gone: nothing is lost

    try:
        await trio.serve_listeners(
            answer, [trio.SocketListener(listening)], task_status=_Ready(task_status)
        )
    finally:
        path.unlink(missing_ok=True)


async def _word(stream: trio.abc.ReceiveStream) -> str:
    """Read to the end of the asker's sentence; one that does not come soon is an empty one."""
    text = b""
    with trio.move_on_after(WORD_TIMEOUT_S):
        while len(text) < MAX_WORD_BYTES and (piece := await stream.receive_some(MAX_WORD_BYTES)):
            text += piece
        return text.decode(errors="replace").strip()
    return ""


class _Ready:
    """Passes ``started`` on without the listeners, which are nobody else's business."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status

    def started(self, _value: object = None) -> None:
        self._task_status.started()
