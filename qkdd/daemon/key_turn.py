"""One turn of a key desk: what the peer said and the deliveries it allows, in one commit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from qkdd.base.errors import QkdError
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.daemon.gathering import Waiting
from qkdd.keys.cutting import Order
from qkdd.keys.messages import KeysHeld, Message, split_ids
from qkdd.keys.store import KeyStore

Outcome = list[Secret] | QkdError


class Wanted(Waiting[Order, list[Secret]]):
    """Keys of one request: ordered --reserved--> announced --the peer answered for each--> in
    work --commit--> done."""

    def __init__(self, order: Order) -> None:
        super().__init__(order, _wipe)
        self.key_ids: tuple[UUID, ...] = ()
        self.in_work = False
        self.refused: set[bytes] = set()
        """Names of keys that the peer does not hold."""
        self._missing: set[bytes] = set()

    def reserved(self, key_ids: Iterable[UUID]) -> None:
        """Note which keys they will be."""
        self.key_ids = tuple(key_ids)
        self._missing = {key_id.bytes for key_id in self.key_ids}

    def peer_answered(self, key_id: bytes, *, held: bool) -> bool:
        """Note an answer; return whether it is the last one."""
        self._missing.discard(key_id)
        if not held:
            self.refused.add(key_id)
        if self._missing or self.in_work:
            return False
        self.in_work = True
        return True


class Stocking(Wanted):
    """Keys that nobody has asked for yet: in work as soon as the peer holds them."""

    @property
    def held_ids(self) -> list[UUID]:
        return [key_id for key_id in self.key_ids if key_id.bytes not in self.refused]


def _wipe(keys: list[Secret]) -> None:
    for key in keys:
        key.wipe()


@dataclass(slots=True)
class Turn:
    """What came of a few messages: ``answers`` may leave, ``error`` ends the session."""

    answers: list[Message] = field(default_factory=list)
    delivered: list[tuple[Wanted, Outcome]] = field(default_factory=list)
    error: QkdError | None = None


def answered_ids(messages: Sequence[Message]) -> list[tuple[bytes, bool]]:
    """Return the key IDs for which the peer answers, and whether it holds them; a malformed message
    has none here, for the store refuses it."""
    ids: list[tuple[bytes, bool]] = []
    for message in messages:
        if isinstance(message, KeysHeld):
            try:
                held, refused = split_ids(message.held), split_ids(message.refused)
            except ValueError:
                continue
            ids += [(key_id, True) for key_id in held] + [(key_id, False) for key_id in refused]
    return ids


def take_turn(
    store: KeyStore,
    link: LinkId,
    messages: Sequence[Message],
    ready: Sequence[Wanted],
    now_s: int,
) -> Turn:
    """Carry out ``messages`` in their order up to the first that is refused, then deliver.

    Each is undone by itself if it is refused; all that is returned may leave after the commit.
    """
    turn = Turn()
    for message in messages:
        try:
            turn.answers += store.receive(link, message, now_s)
        except QkdError as error:
            turn.error = error
            return turn
    outcomes = store.deliver_all(link, [wanted.key_ids for wanted in ready])
    turn.delivered += zip(ready, outcomes, strict=True)
    return turn
