"""The ground of the key store: opening, group commits, and what happens to damage."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

from qkdd.base.entropy import Entropy
from qkdd.base.errors import StoreError
from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.keys.blocks import Blocks
from qkdd.keys.copies import Copies
from qkdd.keys.database import Database
from qkdd.keys.delivery import Owner
from qkdd.keys.epsilon_book import EpsilonBook
from qkdd.keys.errors import DamagedBlock
from qkdd.keys.holding import Holder
from qkdd.keys.hop_keys import HopKeys
from qkdd.keys.lane_bits import LaneShares
from qkdd.keys.lane_book import LaneBook
from qkdd.keys.lane_rows import LaneRows
from qkdd.keys.lane_stock import LaneStocks
from qkdd.keys.layout import CHUNK_BYTES
from qkdd.keys.links import Links
from qkdd.keys.reconnect import Reconnect
from qkdd.keys.schema import EMPTY, KeyState
from qkdd.keys.segments import Damaged, Segments
from qkdd.keys.settings import StoreSettings
from qkdd.keys.streams import Streams
from qkdd.keys.vault import SealBroken, Vault

T = TypeVar("T")


class StoreCore:
    """Builds the rooms of the store over one database, and carries out their operations."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        node: NodeId,
        settings: StoreSettings,
        entropy: Entropy,
    ) -> None:
        self.node = node
        self.settings = settings
        self._entropy = entropy
        self._db = database
        self._vault = vault
        self._handed_out: list[Secret] = []
        self._segments = Segments(database, vault, node)
        self._links = Links(database, self._segments)
        self._streams = Streams(database, self._segments, self._links, settings.auth_stride_bytes)
        self._shares = LaneShares(database, self._links)
        self._blocks = Blocks(database, self._segments, self._links, self._shares)
        self._copies = Copies(database, self._segments, self._links)
        self._hop_keys = HopKeys(database, vault, node)
        self._owner = Owner(database, self._links, self._blocks, self._segments, self._copies)
        self._holder = Holder(database, self._links, self._segments, self._copies, settings)
        self._reconnect = Reconnect(
            database,
            self._segments,
            self._links,
            self._streams,
            self._blocks,
            self._owner,
            self._holder,
            self._copies,
            self._shares,
        )
        self._epsilon = EpsilonBook(database)
        self._lane_rows = LaneRows(database, vault, node)
        self._lane_book = LaneBook(database, self._segments, self._lane_rows)
        self._lane_stocks = LaneStocks(database, self._lane_book, self._lane_rows)

    @classmethod
    def open(
        cls,
        path: Path,
        master_key: Secret,
        node: NodeId,
        entropy: Entropy,
        settings: StoreSettings | None = None,
    ) -> Self:
        """Open or create a store; what was reserved when it was last left is burned.

        Raises
        ------
        StoreError
            Wrong master key or node, open in another process, damaged, or of a later version.
        """
        vault = Vault(master_key, entropy)
        database = Database(path)
        try:
            _check_seal(database, vault, node)
            store = cls(
                database,
                vault,
                node,
                settings or StoreSettings(path=path, master_key=Path()),
                entropy,
            )
            with store.transaction():
                for link in store._links.all():
                    store._owner.burn_unresolved(link)
                store._shares.burn_unsettled()
        except BaseException:
            database.close()
            raise
        return store

    def close(self) -> None:
        """Write how much authentication key was really spent, wipe windows, let go of the file."""
        with contextlib.suppress(StoreError), self._db.transaction():
            for link in self._links.all():
                self._streams.persist(link)
        self._streams.wipe()
        self._segments.forget_keys()
        self._db.close()

    def zeroise(self) -> None:
        """Forget every key that is held in memory, and destroy the files; the store is over.

        Raises
        ------
        StoreError
            If a file could not be destroyed.
        """
        self._streams.wipe()
        self._segments.forget_keys()
        self._vault.forget()
        try:
            self._db.destroy()
        except OSError as error:
            raise StoreError(f"{self._db.path} is not destroyed: {error.strerror}") from error

    @property
    def n_changes(self) -> int:
        """A number that is another one after anything has been written, and once the store has
        stopped. Of key to authenticate with, a whole stride is written, ahead of its use. Any
        thread may look, at any time."""
        return self._db.n_changes

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Group commit. An operation that is refused inside undoes only itself."""
        if self._db.in_group:
            raise RuntimeError("group commits do not nest")
        try:
            with self._db.transaction():
                yield
        except BaseException:
            self._links.close_sessions()
            self._segments.forget_keys()
            for secret in self._handed_out:
                secret.wipe()
            raise
        finally:
            self._handed_out.clear()

    def _do(self, operation: Callable[[], T]) -> T:
        """Run one operation, all or nothing; burn what turns out to be damaged."""
        try:
            with self._db.transaction():
                return operation()
        except Damaged as damage:
            raise self._burn_damaged(damage) from damage

    def _hand_out(self, secrets: list[Secret]) -> list[Secret]:
        if self._db.in_group:
            self._handed_out += secrets
        return secrets

    def _burn_damaged(self, damage: Damaged) -> DamagedBlock:
        with self._db.transaction():
            block = self._db.one("SELECT * FROM segments WHERE id = ?", damage.segment)
            if block is None:
                raise StoreError(f"segment {damage.segment} has keys and no row")
            self._segments.burn_stock(damage.segment)
            self._segments.lose_chunk(damage.segment, damage.region, damage.number)
            first = damage.number * CHUNK_BYTES
            lost = self._db.all(
                "SELECT * FROM keys WHERE segment = ? AND region = ? AND gone = 0"
                " AND offset < ? AND offset + n_bytes > ?",
                *(damage.segment, damage.region, first + CHUNK_BYTES, first),
            )
            for row in lost:
                if row["state"] in (KeyState.RESERVED, KeyState.AWARE):
                    self._owner.burn(row)
                else:
                    self._copies.drop_bytes(row)
                    self._copies.forget_if_done([row["id"]])
        place = f"chunk {damage.number} of {damage.region.name}"
        key_ids = frozenset(row["key_id"] for row in lost)
        return DamagedBlock(block["link"], block["block_no"], place, key_ids)


def _check_seal(database: Database, vault: Vault, node: NodeId) -> None:
    """Make or open the seal that tells whether master key and node are those of the file."""
    context = f"qkdd keys 1|{node}|store".encode()
    row = database.one("SELECT value FROM meta WHERE name = 'seal'")
    if row is None and database.one(EMPTY) is None:
        with vault.new_key() as nothing:
            database.run("INSERT INTO meta VALUES ('seal', ?)", vault.wrap(nothing, context))
        return
    try:
        if row is None:
            raise SealBroken
        vault.unwrap(row["value"], context).wipe()
    except SealBroken as error:
        raise StoreError(
            f"{database.path}: the master key or the node name {node!r} is not the store's"
        ) from error
