"""The key store of a relay: everything the daemon may ask of it, one thread at a time."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from qkdd.base.errors import PeerError, SecurityAlarm, StoreError
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.secret import Secret
from qkdd.keys import messages
from qkdd.keys.account_store import AccountStore
from qkdd.keys.delivery_store import DeliveryStore
from qkdd.keys.epsilon_book import EpsilonYear
from qkdd.keys.hop_store import HopStore
from qkdd.keys.lane_store import LaneStore
from qkdd.keys.layout import BlockLayout, Direction, Role
from qkdd.keys.messages import AuthMarks, BlockLive, BlockPrepared, StoreState
from qkdd.keys.streams import AuthLeft

T = TypeVar("T")


class KeyStore(LaneStore, HopStore, DeliveryStore, AccountStore):
    """Reserve, sync, then send: whatever is returned is on disk, and may leave in that order.

    Inside ``with store.transaction():`` several operations share one sync; then nothing that
    they returned, secrets included, may leave before the ``with`` is left without an error.
    A secret handed out in a group commit that fails is wiped.
    """

    # --- links and authentication key ---

    def install_psk(self, link: LinkId, role: Role, psk: Secret, *, rekey: bool = False) -> None:
        """Lay in a pre-shared key of at least 32 KiB; ``rekey`` first burns all of the link."""

        def install() -> None:
            self._links.install(link, role, psk, rekey=rekey)
            self._streams.forget(link)

        self._do(install)

    def links(self) -> list[LinkId]:
        return self._links.all()

    def auth_marks(self, link: LinkId) -> AuthMarks:
        """Begin an incarnation: what to tell the peer before the first tag."""
        return self._do(lambda: self._reconnect.marks(link))

    def begin_session(self, link: LinkId, peer: AuthMarks) -> StoreState:
        """Burn up to the larger marks; return the first message to send under authentication.

        Raises
        ------
        SecurityAlarm
            One of the two stores was restored from an old image: all key here is burned.
        """
        if self._db.in_group:
            raise RuntimeError("a session begins outside of a group commit")
        try:
            self._do(lambda: self._reconnect.begin(link, peer))
        except StoreError:
            self._streams.forget(link)  # what is on disk counts
            raise
        except SecurityAlarm as alarm:
            self.raise_alarm(link, str(alarm))
            raise
        return self._do(lambda: self._reconnect.state(link))

    def end_session(self, link: LinkId) -> None:
        """The peer is gone: nothing more is reserved until the next agreement."""
        self._links.close_session(link)
        self._do(lambda: self._streams.persist(link))

    def raise_alarm(self, link: LinkId, reason: str) -> None:
        """Burn all key of a link until it is re-keyed."""
        self._do(lambda: self._reconnect.alarm(link, reason))

    def take_tx(self, link: LinkId, n_bytes: int) -> Secret:
        """Take the next bytes to tag with; never the same twice. Not inside a transaction."""
        return self._streams.take(link, "tx", n_bytes)

    def take_rx(self, link: LinkId, n_bytes: int) -> Secret:
        """Take the next bytes to check tags with."""
        return self._streams.take(link, "rx", n_bytes)

    def take_ready(self, link: LinkId, direction: Direction, n_bytes: int) -> Secret | None:
        """Take pads that are burned on disk ahead, or None: then ask :meth:`take_tx` or _rx.

        The one operation that may run beside another, in another thread.
        """
        return self._streams.take_ready(link, direction, n_bytes)

    def auth_left(self, link: LinkId) -> AuthLeft:
        return self._streams.left(link)

    # --- blocks ---

    def next_block_no(self, link: LinkId) -> BlockNo:
        """Claim a block number, which is never given again."""
        return self._do(lambda: self._links.next_block(link))

    def prepare_block(
        self,
        link: LinkId,
        block_no: BlockNo,
        key: Secret,
        *,
        n_bits: int,
        auth_bytes: int,
        lane_bits: int = 0,
        facts: Mapping[str, str | int | float] | None = None,
    ) -> tuple[BlockPrepared | BlockLive, ...]:
        """Put a distilled block on disk, ``n_bits`` packed in ``key``; return what to send.

        ``auth_bytes`` go to each direction's authentication first, if the block has as many.
        ``lane_bits`` more are the block's units of lanes, which are not in ``key``: from the
        moment that the block is live they are under way in the account, until they are settled
        (:meth:`settle_lane_bits`) or known to be lost (:meth:`drop_lane_units`).
        """
        if min(n_bits, lane_bits) < 0 or len(key) != -(-n_bits // 8):
            raise ValueError(f"{len(key)} bytes cannot be {n_bits} bits beside {lane_bits}")
        layout = BlockLayout.of(n_bits, auth_bytes)
        text = msgspec.json.encode(facts or {})
        return _or_raise(
            self._do(lambda: self._blocks.prepare(link, block_no, key, layout, text, lane_bits))
        )

    def epsilon_spent(self, link: LinkId, year: int) -> EpsilonYear:
        """Return what the blocks of a link have cost in a calendar year."""
        return self._epsilon.spent(link, year)

    def spend_epsilon(
        self, link: LinkId, year: int, secrecy: float, correctness: float, limit: float
    ) -> EpsilonYear | None:
        """Count a block that is about to become key; None if that would pass ``limit``."""
        return self._do(lambda: self._epsilon.spend(link, year, secrecy, correctness, limit))

    # --- messages of the peer ---

    def receive(
        self, link: LinkId, message: messages.Message, now_s: int
    ) -> tuple[messages.Message, ...]:
        """Carry out a message; return the answers, which may leave once this is on disk.

        Raises
        ------
        PeerError
            The message is illegal and changed nothing (but a block of unequal lengths is burned).
        SecurityAlarm
            It shows a store restored from an old image: all key of the link is burned.
        """
        try:
            return _or_raise(self._do(lambda: self._receive(link, message, now_s)))
        except ValueError as error:
            raise PeerError(f"link {link}: {type(message).__name__}: {error}") from error
        except SecurityAlarm as alarm:
            if isinstance(message, StoreState):
                self.raise_alarm(link, str(alarm))
            raise

    def _receive(
        self, link: LinkId, message: messages.Message, now_s: int
    ) -> tuple[messages.Message, ...] | PeerError:
        match message:
            case messages.BlockPrepared():
                return self._blocks.peer_prepared(link, message)
            case messages.LanesRelayed():
                self._links.peer_speaks(link, "LanesRelayed")
                self._shares.peer_relayed(link, message.n_bits)
            case messages.BlockLive():
                self._blocks.peer_live(link, message)
            case messages.BlockBurned():
                self._blocks.peer_burned(link, message)
            case messages.KeysAnnounced():
                return (self._holder.hold(link, message, now_s),)
            case messages.KeysHeld():
                self._owner.held(link, message)
            case messages.KeysConfirmed():
                return (self._holder.confirmed(link, message),)
            case messages.KeysSettled():
                self._owner.settled(link, message)
            case messages.StoreState():
                return (self._reconnect.agree(link, message),)
            case messages.StoreAgreed():
                self._reconnect.agreed(link, message)
        return ()


def _or_raise(result: T | PeerError) -> T:
    if isinstance(result, PeerError):
        raise result
    return result
