"""What the daemon may ask and tell of a link's account."""

from dataclasses import replace

from qkdd.base.ids import BlockNo, LinkId
from qkdd.keys.account import Account, account_of, check
from qkdd.keys.core import StoreCore
from qkdd.keys.lane_bits import LaneBits
from qkdd.keys.layout import Role, half_of
from qkdd.keys.messages import LanesRelayed


class AccountStore(StoreCore):
    """The part of the store that counts; see :class:`qkdd.keys.store.KeyStore`."""

    def account(self, link: LinkId) -> Account:
        """Return the account, exact to the pad; StoreError if it does not balance."""
        stored = account_of(self._db.all, self._links.row(link))
        if self._links.row(link)["alarm"] is not None:
            return stored
        row = self._links.row(link)
        with self._streams.still():
            tx, rx = self._streams.stream(link, "tx"), self._streams.stream(link, "rx")
            spent = tx.spent + rx.spent
            ahead = tx.held + rx.held
            skipped = tx.mark - tx.spent + rx.mark - rx.spent - ahead
        exact = replace(
            stored,
            authentication=8 * spent,
            reserved=stored.reserved + 8 * ahead,
            burned=row["burned"] + LaneBits.of(row).burned + 8 * skipped,
        )
        check(link, exact)
        return exact

    def role(self, link: LinkId) -> Role:
        role: Role = self._links.row(link)["role"]
        return role

    def own_half(self, link: LinkId) -> str:
        """Return the name of the region from which this end allocates."""
        return half_of(self.role(link)).name

    # --- the lanes' share of a link ---

    def settle_lane_bits(self, link: LinkId, relayed_bits: int, burned_bits: int) -> None:
        """Count lane bits whose fate is known; ``burned_bits`` below 0 takes some back that
        came through after all. One call may sum up many units.

        Raises
        ------
        ValueError
            More would be settled than was ever cut: a bug.
        """
        self._do(lambda: self._shares.settle(link, relayed_bits, burned_bits))

    def drop_lane_units(self, link: LinkId, block_no: BlockNo) -> None:
        """The units of a block that was prepared were wiped instead of born (it did not become
        live in time, or the session ended): they count as burned, should it ever be live.

        Only for a block none of whose units are settled otherwise. One that becomes live when two
        stores agree after a reconnect needs no call, and calls once too often change nothing.
        """
        self._do(lambda: self._shares.drop(link, block_no))

    def lane_bits_relayed(self, link: LinkId) -> LanesRelayed | None:
        """Return what to tell the peer of lane bits, None if it knows: for every half minute or so,
        so that both ends count alike after one of them has crashed."""
        return self._do(lambda: self._shares.relayed(link))
