"""A wire that tampers with every frame before it lets the true one through.

Under test are the machines of an authenticated session as :class:`qkdd.net.peer.PeerSession` puts
them together: FrameReader (bytes to frames), the kind of a frame in an open session, and Opener
(sequence, tag, budget), at the receiving end of one session of one link. TLS is left out: whoever
tampers here sits inside of it. A session ends at the first bad tag, and a link at the third; here
the budget is cleared each time, so that every frame meets the whole of the check, and the true one
after it must still open: its pad and its place were kept.
"""

import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from qkdd.auth.budget import AuthBudget, BadTag
from qkdd.auth.seal import Opener, Sealer
from qkdd.auth.tags import TAG_BYTES, SessionContext
from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.net.codec import decode_batch, encode_message, join_batch
from qkdd.net.framing import HEADER, Frame, FrameReader, Kind, frame_bytes
from qkdd.sift.messages import TestErrors

A, B = NodeId("a"), NodeId("b")
N_EARLIER = 64
"""True frames that are kept, to be said again."""


@dataclass
class Way:
    """One direction of one session: what seals at one end and opens at the other."""

    link: str
    sender: NodeId
    receiver: NodeId
    opening: bytes
    dice: random.Random
    budget: AuthBudget = field(default_factory=AuthBudget)

    def __post_init__(self) -> None:
        link = LinkId(self.link)
        there = SessionContext(link, self.sender, self.receiver, self.opening)
        here = SessionContext(link, self.receiver, self.sender, self.opening)
        self.loaded = b""
        self.sealer, self.opener = Sealer(there), Opener(here, self.budget)
        self._keys: deque[bytes] = deque(maxlen=2)
        """Sealed with, and not yet loaded at the other end: both read one stream."""

    def seal(self, payload: bytes, key: bytes = b"") -> bytes:
        key = key or self.dice.randbytes(self.sealer.key_bytes)
        self._keys.append(key)
        tag = self.sealer.seal(Kind.BATCH, payload, Secret.from_bytes(key))
        return frame_bytes(Frame(Kind.BATCH, payload, tag))

    def _key_of_next(self) -> bytes:
        self.loaded = self._keys.popleft()
        return self.loaded

    def load(self) -> None:
        """Give the receiving end the key of its next frame, as a session does."""
        if self.opener.key_bytes:
            self.opener.load(Secret.from_bytes(self._key_of_next()))

    def receive(self, data: bytes) -> list[msgspec.Struct]:
        """Take bytes as PeerSession does; the messages of the frame that opens.

        Raises
        ------
        PeerError, SecurityAlarm
            It does not open; LookupError if it is not even whole.
        """
        reader = FrameReader()
        reader.feed(data)
        frame = reader.next_frame()
        if frame is None:
            raise LookupError("waits for the rest of a frame")
        if frame.kind is not Kind.BATCH:
            raise PeerError(f"{frame.kind.name} frame in an open session")
        self.opener.open(frame.kind, frame.payload, frame.tag)
        return decode_batch(frame.payload)


class Tamperer:
    """Counts what was done to frames, and by which word each was refused."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._way = Way("ab", A, B, b"opening 2", self._dice)
        self._others = {
            "of the other direction": Way("ab", B, A, b"opening 2", self._dice),
            "of an earlier session": Way("ab", A, B, b"opening 1", self._dice),
            "of another link": Way("ac", A, B, b"opening 2", self._dice),
        }
        self._earlier: list[bytes] = []
        self.n_true = 0
        self.accepted: list[tuple[str, bytes]] = []
        self.refused: Counter[tuple[str, str]] = Counter()

    def run(self, n_frames: int) -> None:
        """Tamper ``n_frames`` times, each kind in turn; after each round the true frame passes.

        Ends at the first frame that was accepted.
        """
        following = self._way.seal(self._payload())
        while self.n_tampered < n_frames:
            true, following = following, self._way.seal(self._payload())
            self._way.load()
            for kind, data in self._tampered(true, following):
                whole = data.startswith(
                    true
                )  # by chance: a frame of the peer's, and more behind it
                if self.n_tampered < n_frames and not whole:
                    self._try(kind, data)
                if self.accepted:
                    return
            assert self._way.receive(true), "the true frame does not open any more"
            self.n_true += 1
            self._earlier = [*self._earlier[1 - N_EARLIER :], true]

    @property
    def n_tampered(self) -> int:
        return len(self.accepted) + sum(self.refused.values())

    def _payload(self) -> bytes:
        dice = self._dice
        messages = [
            TestErrors(block_no=dice.randrange(2**40), errors=(dice.randrange(9), 0, 1))
            for _ in range(1 + dice.randrange(4))
        ]
        return join_batch([encode_message(message) for message in messages])

    def _try(self, kind: str, data: bytes) -> None:
        before = self._way.opener.n_opened, self._way.opener.key_bytes
        try:
            self._way.receive(data)
        except (PeerError, SecurityAlarm, LookupError) as error:
            self.refused[kind, reason(error)] += 1
            assert (self._way.opener.n_opened, self._way.opener.key_bytes) == before
        else:
            self.accepted.append((kind, data))
        self._way.budget.clear()

    def _tampered(self, true: bytes, following: bytes) -> Iterator[tuple[str, bytes]]:
        dice, body, tag = self._dice, true[HEADER.size : -TAG_BYTES], true[-TAG_BYTES:]
        header = true[: HEADER.size]
        yield "header: a bit", flipped(header, dice) + body + tag
        yield "payload: a bit", header + flipped(body, dice) + tag
        yield "tag: a bit", header + body + flipped(tag, dice)
        yield "tag: at random", header + body + dice.randbytes(TAG_BYTES)
        yield "tag: of the next frame", header + body + following[-TAG_BYTES:]
        yield "payload: of the next, tag kept", framed(following[HEADER.size : -TAG_BYTES], tag)
        yield "payload: another batch, tag kept", framed(self._payload(), tag)
        yield "payload: longer", framed(body + dice.randbytes(1 + dice.randrange(40)), tag)
        yield "payload: shorter", framed(body[: dice.randrange(len(body))], tag)
        yield "cut short", true[: dice.randrange(len(true))]
        at = dice.randrange(1, len(true))
        yield "cut short, the next behind it", true[:at] + following
        yield "head spliced to the next's end", true[:at] + following[min(at, len(following) - 1) :]
        yield "kind: a hello", frame_bytes(Frame(Kind.HELLO, body, b""))
        yield "the next before its turn", following
        if self._earlier:
            yield "the one before, again", self._earlier[-1]
            yield "an earlier one, again", dice.choice(self._earlier)
        for kind, way in self._others.items():  # under the very key and number of the true one
            yield kind, way.seal(body, self._way.loaded)


def framed(payload: bytes, tag: bytes) -> bytes:
    return frame_bytes(Frame(Kind.BATCH, payload, tag))


def flipped(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]


def reason(error: Exception) -> str:
    """Name a refusal without its numbers."""
    if isinstance(error, BadTag):
        return "bad tag"
    if isinstance(error, LookupError):
        return "waits for the rest"
    text = str(error)
    for words in ("this is no qkdd", "protocol version", "unknown kind", "HELLO frame in", "limit"):
        if words in text:
            return {"limit": "length or reserved field"}.get(words, words)
    return f"{type(error).__name__}: {text[:40]}"
