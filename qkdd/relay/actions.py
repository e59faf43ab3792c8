"""What the machines of a lane ask of the daemon.

The actions of one step are carried out in their order, and what a `Persist...`, `Hold` or `Ready`
holds is on disk before any later action of the same step is: reserve, sync, then send.
"""

from dataclasses import dataclass
from typing import TypeAlias

from qkdd.base.secret import Secret
from qkdd.relay.messages import DownMessage, LaneConfirm, LaneVerdict, UpMessage


@dataclass(frozen=True, slots=True)
class SendDown:
    """To the neighbour on the last end's side."""

    message: DownMessage


@dataclass(frozen=True, slots=True)
class SendUp:
    """To the neighbour on the first end's side."""

    message: UpMessage


@dataclass(frozen=True, slots=True)
class PersistMark:
    """First end: no number below this will ever be announced again."""

    next_number: int


@dataclass(frozen=True, slots=True)
class TrimPads:
    """First end: keep the pairs ``first_pair <= n < end_pair`` only; the last end has no others."""

    first_pair: int
    end_pair: int


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """Last end: keep the unconfirmed keys (32 bytes for each of ``confirm.epochs``) and the very
    bytes of the confirmation; from then on its pair of pads is spent. Replaces an older one."""

    confirm: LaneConfirm
    keys: Secret
    """For the caller to wipe, once it is sealed on disk."""


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """Both ends: keys for these epochs; into the stock, for the caller to wipe.

    The other end holds all of them durably. At the first end the verdict, whose pair is spent from
    then on, is kept in the same sync; at the last end the matching :class:`Hold` is forgotten.
    """

    epochs: tuple[int, ...]
    keys: Secret
    """32 bytes for each epoch, in order."""
    verdict: LaneVerdict
    renewal: Secret | None
    """The association's next pair, to be kept in the same sync; the machine has a copy."""


@dataclass(frozen=True, slots=True)
class PersistVerdict:
    """Both ends: the confirmation failed, its pair is spent; last end: forget the Hold."""

    verdict: LaneVerdict


@dataclass(frozen=True, slots=True)
class Voided:
    """An end: these numbers will never be keys."""

    numbers: tuple[int, ...]


RelayAction: TypeAlias = SendDown | SendUp
FirstAction: TypeAlias = SendDown | PersistMark | TrimPads | Ready | PersistVerdict | Voided
LastAction: TypeAlias = SendUp | Hold | Ready | PersistVerdict | Voided
