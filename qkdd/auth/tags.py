"""Wegman-Carter tags: Poly1305 with a hash key r that stays, and a pad that never comes back.

    tag = (Poly1305_r(context | sequence | kind | length | payload) + pad) mod 2^128

r (16 bytes) serves one direction of one session, for at most 2^20 tags; the pad (16 bytes) is one
tag's alone. That is ``Poly1305`` of RFC 8439 section 2.5 under the one-time key r | pad. The
context names link, sender and receiver, and holds the session's opening byte for byte, so a tag
is good for one direction, one session, one place and one kind of frame, and for no other.
"""

import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret

TAG_BYTES = 16
HASH_KEY_BYTES = 16
PAD_BYTES = 16
TAGS_PER_HASH_KEY = 1 << 20
DOMAIN = b"qkdd-tag-1"


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What every tag of a session covers besides its frame; both ends hold the same."""

    link: LinkId
    local: NodeId
    peer: NodeId
    opening: bytes
    """The session's opening, byte for byte the same at both ends, and new in each session."""

    def __post_init__(self) -> None:
        if self.local == self.peer:
            raise ValueError(f"node {self.local!r} cannot be its own peer")

    @property
    def sent(self) -> bytes:
        """The context of frames that this end sends."""
        return _context(self.link, self.local, self.peer, self.opening)

    @property
    def received(self) -> bytes:
        return _context(self.link, self.peer, self.local, self.opening)


def _context(link: str, sender: str, receiver: str, opening: bytes) -> bytes:
    parts = (link.encode(), sender.encode(), receiver.encode(), opening)
    return DOMAIN + b"".join(struct.pack("<I", len(part)) + part for part in parts)


def covered_header(context: bytes, sequence: int, kind: int, n_payload: int) -> bytes:
    """Return what is hashed before the payload; no two different calls give the same bytes."""
    return context + struct.pack("<QBQ", sequence, kind, n_payload)


class TagKey:
    """The 32 bytes r | pad of Poly1305 in one wipeable place."""

    def __init__(self) -> None:
        self._key = Secret(HASH_KEY_BYTES + PAD_BYTES)

    def load(self, fresh: Secret) -> None:
        """Take a pad (16 bytes), or a new hash key and a pad (32 bytes); wipes ``fresh``."""
        view = self._key.reveal()
        view[len(view) - len(fresh) :] = fresh.reveal()
        fresh.wipe()

    def hash(self, header: bytes, payload: bytes | memoryview) -> Poly1305:
        # cryptography reads the key from the buffer in place and copies it into OpenSSL's context.
        poly = Poly1305(self._key.reveal())
        poly.update(header)
        poly.update(payload)
        return poly

    def forget_pad(self) -> None:
        self._key.reveal()[HASH_KEY_BYTES:] = bytes(PAD_BYTES)

    def wipe(self) -> None:
        self._key.wipe()
