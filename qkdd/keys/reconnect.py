"""A session of two stores: marks, states, agreement; and the alarm that ends a link's key."""

from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.base.ids import LinkId
from qkdd.keys.account import account_of
from qkdd.keys.agree import Cursors, Resolution, resolve
from qkdd.keys.blocks import Blocks
from qkdd.keys.copies import Copies
from qkdd.keys.database import Database
from qkdd.keys.delivery import Owner
from qkdd.keys.holding import Holder
from qkdd.keys.lane_bits import LaneShares
from qkdd.keys.layout import Region
from qkdd.keys.links import Links, Phase
from qkdd.keys.messages import (
    AuthMarks,
    LiveBlock,
    PendingBlock,
    StoreAgreed,
    StoreState,
    join_ids,
)
from qkdd.keys.schema import BlockState, KeyState
from qkdd.keys.segments import USED, Segments
from qkdd.keys.streams import Streams


class Reconnect:
    """CLOSED --marks--> AGREEING --StoreState--> APPLIED --StoreAgreed--> UP."""

    def __init__(
        self,
        database: Database,
        segments: Segments,
        links: Links,
        streams: Streams,
        blocks: Blocks,
        owner: Owner,
        holder: Holder,
        copies: Copies,
        shares: LaneShares,
    ) -> None:
        self._db = database
        self._segments = segments
        self._links = links
        self._streams = streams
        self._blocks = blocks
        self._owner = owner
        self._holder = holder
        self._copies = copies
        self._shares = shares

    def marks(self, link: LinkId) -> AuthMarks:
        """Begin a new incarnation, on disk before the peer hears of it."""
        row = self._links.row(link)
        self._links.check_alarm(row)
        self._links.close_session(link)
        self._db.run("UPDATE links SET incarnation = incarnation + 1 WHERE link = ?", link)
        return AuthMarks(
            incarnation=row["incarnation"] + 1,
            tx=self._streams.stream(link, "tx").position,
            rx=self._streams.stream(link, "rx").position,
            psk_id=row["psk_id"],
        )

    def begin(self, link: LinkId, peer: AuthMarks) -> None:
        """Burn up to the larger marks. A SecurityAlarm is the caller's cue to raise the alarm."""
        row = self._links.row(link)
        self._links.check_alarm(row)
        if peer.psk_id not in (b"", row["psk_id"]):
            raise PeerError(
                f"link {link}: the peer has pre-shared key {peer.psk_id.hex()}, "
                f"here is {row['psk_id'].hex()}"
            )
        if peer.incarnation <= row["peer_incarnation"]:
            raise SecurityAlarm(
                f"link {link}: the peer's incarnation {peer.incarnation} is not above "
                f"{row['peer_incarnation']}: its store was restored from an old image"
            )
        spent = self._streams.stream(link, "rx").spent
        if peer.tx < spent:
            raise SecurityAlarm(
                f"link {link}: the peer would send from byte {peer.tx} again, {spent} are used: "
                "its store was restored from an old image"
            )
        if max(peer.tx, peer.rx) > row["auth_end"]:
            raise SecurityAlarm(
                f"link {link}: the peer is at byte {max(peer.tx, peer.rx)} of {row['auth_end']}: "
                "this store was restored from an old image"
            )
        self._db.run("UPDATE links SET peer_incarnation = ? WHERE link = ?", peer.incarnation, link)
        self._streams.skip(link, "tx", peer.rx)
        self._streams.skip(link, "rx", peer.tx)

    def state(self, link: LinkId) -> StoreState:
        """Burn what was reserved and not delivered, and say all that the peer may not know."""
        self._owner.burn_unresolved(link)
        row = self._links.row(link)
        session = self._links.open_session(link)
        pending = self._db.all(
            "SELECT * FROM segments WHERE link = ? AND state = ? ORDER BY block_no",
            *(link, BlockState.PENDING),
        )
        session.state = StoreState(
            next_block=row["next_block"],
            last_block=row["last_block"],
            auth_end=row["auth_end"],
            tx_spent=self._streams.stream(link, "tx").spent,
            rx_spent=self._streams.stream(link, "rx").spent,
            pending=tuple(
                PendingBlock(
                    block_no=p["block_no"],
                    n_bits=p["n_bits"],
                    auth_bytes=p["auth_bytes"],
                    lane_bits=p["lane_bits"],
                )
                for p in pending
            ),
            live=tuple(
                LiveBlock(
                    block_no=p["block_no"],
                    n_bits=p["n_bits"],
                    auth_bytes=p["auth_bytes"],
                    alice_used=p["alice_used"],
                    bob_used=p["bob_used"],
                    burned=bool(p["burned"]),
                    lane_bits=p["lane_bits"],
                )
                for p in self._blocks.unsure(link, row["tx_end"])
            ),
            delivered=self._ids(link, "state = ? AND settled = 0", KeyState.DELIVERED),
            fetched=self._ids(
                link, "state IN (?, ?) AND fetched = 1", KeyState.HELD, KeyState.DISPUTED
            ),
            lane_bits=row["lane_relayed"],
        )
        return session.state

    def _ids(self, link: LinkId, where: str, *states: int) -> bytes:
        sql = f"SELECT key_id FROM keys WHERE link = ? AND {where} ORDER BY id"  # noqa: S608
        return join_ids([row["key_id"] for row in self._db.all(sql, link, *states)])

    def agree(self, link: LinkId, theirs: StoreState) -> StoreAgreed:
        session = self._links.session(link)
        if session.phase is not Phase.AGREEING or session.state is None:
            raise PeerError(f"link {link}: StoreState at the wrong moment")
        row = self._links.row(link)
        resolution = resolve(row["role"], session.state, theirs)
        ends = (self._streams.stream(link, "tx").mark, self._streams.stream(link, "rx").mark)
        if theirs.rx_spent > ends[0] or theirs.tx_spent > ends[1]:
            raise PeerError(f"link {link}: the peer counts more pads spent than were marked")
        known = {key_id: self._copies.row(key_id) for key_id in resolution.fetched}
        for key_id, key in known.items():
            if key is not None and (key["link"] != link or key["state"] > KeyState.BURNED):
                raise PeerError(f"link {link}: key {key_id.hex()} is not one that we reserved")
        self._apply_blocks(link, resolution)
        self._apply_keys(link, resolution)
        self._shares.agree(link, theirs.lane_bits)
        session.agreed = self._sums(link)
        self._streams.credit(link, resolution.credit_tx, resolution.credit_rx)
        session.phase = Phase.APPLIED
        return session.agreed

    def _apply_blocks(self, link: LinkId, resolution: Resolution) -> None:
        for number in resolution.burn:
            row = self._segments.by_block(link, number)
            if row is not None:
                self._segments.destroy(row["id"])
        for number in resolution.go_live:
            row = self._segments.by_block(link, number)
            assert row is not None
            self._blocks.make_live(link, row["id"], units_lost=True)
        for number, cursors in resolution.cursors.items():
            self._burn_to(link, number, cursors)
        self._db.run(
            "UPDATE links SET next_block = max(next_block, ?), last_block = max(last_block, ?)"
            " WHERE link = ?",
            *(resolution.next_block, resolution.last_block, link),
        )

    def _burn_to(self, link: LinkId, number: int, cursors: Cursors) -> None:
        targets = {Region.HALF_ALICE: cursors.alice_used, Region.HALF_BOB: cursors.bob_used}
        for region, target in targets.items():
            row = self._segments.by_block(link, number)
            if row is not None and target > row[USED[region]]:
                self._segments.advance(row["id"], region, target, burn_from=row[USED[region]])
        if cursors.burned:
            self._db.run(
                "UPDATE segments SET burned = 1 WHERE link = ? AND block_no = ?", link, number
            )

    def _apply_keys(self, link: LinkId, resolution: Resolution) -> None:
        for key_id in resolution.fetched:
            row = self._copies.row(key_id)
            if row is not None:
                self._owner.was_fetched(row)
        for row in self._db.all(
            "SELECT * FROM keys WHERE link = ? AND state = ?", link, KeyState.HELD
        ):
            if row["key_id"] in resolution.delivered:
                self._holder.were_delivered([row])
            else:
                self._holder.was_burned(link, row["key_id"])

    def _sums(self, link: LinkId) -> StoreAgreed:
        row = self._links.row(link)
        sums = account_of(self._db.all, row)
        return StoreAgreed(
            pre_shared=sums.pre_shared,
            distilled=sums.distilled,
            delivered=sums.delivered,
            relayed=row["relayed"],  # without lanes, for the same reason
            burned=row["burned"],  # without pads: those go on being spent meanwhile
            stock=sums.stock,
            auth_end=row["auth_end"],
            lane_bits=row["lane_cut"],
        )

    def agreed(self, link: LinkId, theirs: StoreAgreed) -> None:
        session = self._links.session(link)
        if session.phase is not Phase.APPLIED or session.state is None:
            raise PeerError(f"link {link}: StoreAgreed at the wrong moment")
        if theirs != session.agreed:
            raise SecurityAlarm(
                f"link {link}: the accounts differ, here {session.agreed}, there {theirs}"
            )
        self._db.run("UPDATE links SET tx_end = auth_end WHERE link = ?", link)
        for row in self._db.all(
            "SELECT * FROM keys WHERE link = ? AND state IN (?, ?) AND settled = 0",
            *(link, KeyState.DELIVERED, KeyState.BURNED),
        ):
            self._db.run("UPDATE keys SET told = 1 WHERE id = ?", row["id"])
            self._owner.settle([row["id"]])
        self._holder.drop_disputes(link)
        session.phase = Phase.UP

    def alarm(self, link: LinkId, reason: str) -> None:
        """Burn all key of a link, for good: only a new pre-shared key opens it again."""
        row = self._links.row(link)
        if row["alarm"] is not None:
            return
        self._owner.burn_unresolved(link)
        for key in self._db.all("SELECT * FROM keys WHERE link = ?", link):
            if key["state"] == KeyState.HELD:
                self._holder.was_burned(link, key["key_id"])
        for block in self._db.all("SELECT * FROM segments WHERE link = ?", link):
            if block["state"] == BlockState.LIVE:
                self._segments.burn_stock(block["id"])
            self._segments.destroy(block["id"])
        self._db.run("UPDATE keys SET gone = 1 WHERE link = ?", link)
        self._streams.forget(link)
        self._db.run(
            "UPDATE links SET alarm = ?, tx_mark = auth_end, rx_mark = auth_end WHERE link = ?",
            *(reason, link),
        )
        self._links.close_session(link)
