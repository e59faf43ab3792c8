"""The two directions of a session: seal frames to the peer, open frames from the peer.

Both ask for authentication key in the same order: for frame 0 and every 2^20th frame after it a new
hash key and a pad (32 bytes), else a pad (16 bytes). A sequence number gets one pad and never
another: a frame that fails leaves pad and number in place for the true frame.
"""

from cryptography.exceptions import InvalidSignature

from qkdd.auth.budget import AuthBudget
from qkdd.auth.tags import (
    HASH_KEY_BYTES,
    PAD_BYTES,
    TAG_BYTES,
    TAGS_PER_HASH_KEY,
    SessionContext,
    TagKey,
    covered_header,
)
from qkdd.base.secret import Secret


def key_bytes_of(sequence: int) -> int:
    """Return how many bytes of authentication key frame ``sequence`` of a direction takes."""
    return PAD_BYTES + (HASH_KEY_BYTES if sequence % TAGS_PER_HASH_KEY == 0 else 0)


class Sealer:
    """Tags what this end sends. ``n_sealed`` is the sequence number of the next frame."""

    def __init__(self, session: SessionContext) -> None:
        self._context = session.sent
        self._key = TagKey()
        self.n_sealed = 0

    @property
    def key_bytes(self) -> int:
        """What :meth:`seal` wants next."""
        return key_bytes_of(self.n_sealed)

    def seal(self, kind: int, payload: bytes, key: Secret) -> bytes:
        """Return the tag of the next frame.

        ``key`` is ``key_bytes`` bytes of the sending stream, never used before; it is wiped here.
        The sequence number is spent even if the frame is never sent.
        """
        if len(key) != self.key_bytes:
            raise ValueError(f"frame {self.n_sealed} takes {self.key_bytes} bytes, not {len(key)}")
        self._key.load(key)
        header = covered_header(self._context, self.n_sealed, kind, len(payload))
        self.n_sealed += 1
        try:
            return self._key.hash(header, payload).finalize()
        finally:
            self._key.forget_pad()

    def wipe(self) -> None:
        self._key.wipe()


class Opener:
    """Verifies what this end receives. ``n_opened`` is the sequence number expected next."""

    def __init__(self, session: SessionContext, budget: AuthBudget) -> None:
        self._context = session.received
        self._key = TagKey()
        self._budget = budget
        self._has_pad = False
        self.n_opened = 0

    @property
    def key_bytes(self) -> int:
        """What :meth:`load` wants before the next frame is opened: 0 if it has its pad already."""
        return 0 if self._has_pad else key_bytes_of(self.n_opened)

    def load(self, key: Secret) -> None:
        """Take the key of the next frame, from the receiving stream; wipes ``key``."""
        if len(key) != self.key_bytes:
            raise ValueError(f"frame {self.n_opened} takes {self.key_bytes} bytes, not {len(key)}")
        self._key.load(key)
        self._has_pad = True

    def open(self, kind: int, payload: bytes | memoryview, tag: bytes) -> None:
        """Return if the next frame is exactly this one; only then may it be parsed.

        Raises
        ------
        BadTag
            If not. The true frame may still be opened: its pad and place are kept.
        SecurityAlarm
            If it was one bad tag too many on this link, now or before.
        """
        if not self._has_pad:
            raise RuntimeError(f"frame {self.n_opened} has no pad yet")
        self._budget.refuse_if_spent()
        header = covered_header(self._context, self.n_opened, kind, len(payload))
        self._budget.tried(len(header) + len(payload))
        if len(tag) != TAG_BYTES:
            raise self._budget.failed(f"a tag of {len(tag)} bytes")
        try:
            self._key.hash(header, payload).verify(tag)  # constant time
        except InvalidSignature as error:
            raise self._budget.failed(f"frame {self.n_opened} of {len(payload)} bytes") from error
        self._key.forget_pad()
        self._has_pad = False
        self.n_opened += 1

    def wipe(self) -> None:
        self._key.wipe()
