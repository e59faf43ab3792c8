"""The conversation of the two ends about one block."""

from typing import TypeVar

import msgspec
import trio

from qkdd.base.errors import LinkLost, PeerError, QkdError
from qkdd.base.ids import BlockNo
from qkdd.daemon.mailbox import Mailbox
from qkdd.station.messages import BlockVoid

T = TypeVar("T", bound=msgspec.Struct)

SILENCE_S = 60.0
"""Far more than either end computes between two words; without an end, one block that the peer
forgot would hold up all that follow for as long as the session lasts."""


class BlockGone(QkdError):
    """This block makes no key; the reason is for the operator of this end."""


class BlockMail:
    """Reads a mailbox on behalf of one block; what is late for an earlier one is passed over."""

    def __init__(self, mailbox: Mailbox, block_no: BlockNo) -> None:
        self._mailbox = mailbox
        self._block_no = block_no

    async def get(self, *expected: type[T]) -> T:
        """Wait for the next message about this block.

        Raises
        ------
        BlockGone
            If the peer gave the block up.
        PeerError
            If it is of another type, or about a block that is not due.
        LinkLost
            If there is none for a long time.
        """
        with trio.move_on_after(SILENCE_S):
            return await self._get(expected)
        raise LinkLost(
            f"the peer has said nothing about block {self._block_no} for {SILENCE_S:g} s"
        )

    async def _get(self, expected: tuple[type[T], ...]) -> T:
        while True:
            message = await self._mailbox.any()
            about = getattr(message, "block_no", None)
            if about is not None and about < self._block_no:
                continue
            if about != self._block_no:
                raise PeerError(
                    f"peer speaks of block {about} while block {self._block_no} is in work"
                )
            if isinstance(message, BlockVoid):
                raise BlockGone(f"given up by the peer: {message.reason}")
            if isinstance(message, expected):
                return message
            names = " or ".join(kind.__name__ for kind in expected)
            raise PeerError(f"peer sent {type(message).__name__} where {names} was due")
