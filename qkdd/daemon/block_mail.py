"""The conversation of the two ends about one block."""

from typing import TypeVar

import msgspec

from qkdd.base.errors import PeerError, QkdError
from qkdd.base.ids import BlockNo
from qkdd.daemon.mailbox import Mailbox
from qkdd.station.messages import BlockVoid

T = TypeVar("T", bound=msgspec.Struct)


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
        """
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
