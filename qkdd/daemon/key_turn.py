"""One turn of a key desk: what the peer said and the deliveries it allows, in one commit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import trio

from qkdd.base.errors import QkdError, StoreError
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.keys.errors import KeyNotFound
from qkdd.keys.messages import KeysHeld, Message, split_ids
from qkdd.keys.store import KeyStore

Outcome = list[Secret] | QkdError


class Wanted:
    """Keys of one request: announced --the peer answered for each--> in work --commit--> done."""

    def __init__(self, key_ids: Sequence[UUID]) -> None:
        self.key_ids = tuple(key_ids)
        self.in_work = False
        self.answered = trio.Event()
        """Set, too, when the session is over."""
        self._missing = {key_id.bytes for key_id in key_ids}
        self._done = trio.Event()
        self._given_up = False
        self._outcome: Outcome | None = None

    def peer_answered(self, key_id: bytes) -> bool:
        """Note an answer; return whether it is the last one."""
        self._missing.discard(key_id)
        if self._missing or self.in_work:
            return False
        self.in_work = True
        self.answered.set()
        return True

    def finish(self, outcome: Outcome) -> None:
        """Say how the delivery ended; the first word counts."""
        if self._done.is_set():
            return
        if self._given_up and not isinstance(outcome, QkdError):
            for key in outcome:
                key.wipe()
        else:
            self._outcome = outcome
        self._done.set()

    def give_up(self) -> None:
        """Nobody will take the keys: they are wiped when they come."""
        self._given_up = True

    async def secrets(self) -> list[Secret]:
        """Wait for the commit; return the master's copies, or raise what stood in the way."""
        with trio.CancelScope(shield=True):  # it may have happened: the keys are ours to wipe
            await self._done.wait()
        assert self._outcome is not None
        if isinstance(self._outcome, QkdError):
            raise self._outcome
        return self._outcome


@dataclass(slots=True)
class Turn:
    """What came of a few messages: ``answers`` may leave, ``error`` ends the session."""

    answers: list[Message] = field(default_factory=list)
    delivered: list[tuple[Wanted, Outcome]] = field(default_factory=list)
    error: QkdError | None = None


def answered_ids(messages: Sequence[Message]) -> list[bytes]:
    """Return the key IDs for which the peer answers; a malformed message has none here, for the
    store refuses it."""
    ids: list[bytes] = []
    for message in messages:
        if isinstance(message, KeysHeld):
            try:
                ids += split_ids(message.held) + split_ids(message.refused)
            except ValueError:
                continue
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
    for wanted in ready:
        try:
            turn.delivered.append((wanted, store.deliver_to_master(link, wanted.key_ids)))
        except (KeyNotFound, StoreError) as error:
            turn.delivered.append((wanted, error))
    return turn
