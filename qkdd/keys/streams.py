"""Authentication key of a link: two one-way streams, used strictly forward, marked ahead of use.

A stream's bytes are counted from the pre-shared key's first byte through the authentication part
of every block that went live, in block order, so that a position means the same at both ends.

The store is used by one thread at a time, with one exception: :meth:`Streams.take_ready` hands out
what the window holds while another thread may be in a commit. A lock keeps the two apart; it is
held wherever a stream moves, disk and all, and the one who must not wait does not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock

from qkdd.base.errors import OutOfKey, StoreError
from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.keys.database import Database
from qkdd.keys.layout import CHUNK_BYTES, Direction, auth_region
from qkdd.keys.links import Links
from qkdd.keys.schema import BlockState
from qkdd.keys.segments import Damaged, Segments


@dataclass(frozen=True, slots=True)
class AuthLeft:
    """Bytes of authentication key that are left in each direction."""

    tx: int
    rx: int


@dataclass(slots=True)
class Stream:
    """``window`` from ``at`` on are the bytes before ``mark``: burned on disk, not yet used."""

    mark: int
    spent: int
    window: Secret
    at: int = 0
    broken: bool = False

    @property
    def held(self) -> int:
        """How many bytes wait in memory."""
        return len(self.window) - self.at

    @property
    def position(self) -> int:
        return self.mark - self.held

    def drop(self, n_bytes: int) -> None:
        """Wipe the next bytes of the window."""
        self.window.reveal()[self.at : self.at + n_bytes] = bytes(n_bytes)
        self.at += n_bytes

    def replace(self, window: Secret, mark: int) -> None:
        self.window.wipe()
        self.window, self.at, self.mark = window, 0, mark


class Streams:
    """The streams in use; what a crash takes is at most one stride of each."""

    def __init__(
        self, database: Database, segments: Segments, links: Links, stride_bytes: int
    ) -> None:
        self._db = database
        self._segments = segments
        self._links = links
        self._stride_bytes = stride_bytes
        self._streams: dict[tuple[LinkId, Direction], Stream] = {}
        self._moving = RLock()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nothing is taken meanwhile, so that several numbers of a stream belong together."""
        with self._moving:
            yield

    def stream(self, link: LinkId, direction: Direction) -> Stream:
        stream = self._streams.get((link, direction))
        if stream is None:
            row = self._links.row(link)
            stream = Stream(row[f"{direction}_mark"], row[f"{direction}_spent"], Secret(0))
            self._streams[link, direction] = stream
        return stream

    def forget(self, link: LinkId) -> None:
        """Wipe the windows of a link (re-key, alarm)."""
        directions: tuple[Direction, Direction] = ("tx", "rx")
        with self._moving:
            for direction in directions:
                stream = self._streams.pop((link, direction), None)
                if stream is not None:
                    stream.window.wipe()

    def wipe(self) -> None:
        for link, _ in list(self._streams):
            self.forget(link)

    def left(self, link: LinkId) -> AuthLeft:
        """Return what may be sent with (the peer has it too) and what may be checked with."""
        row = self._links.row(link)
        if row["alarm"] is not None:
            return AuthLeft(0, 0)
        return AuthLeft(
            row["tx_end"] - self.stream(link, "tx").position,
            row["auth_end"] - self.stream(link, "rx").position,
        )

    def take(self, link: LinkId, direction: Direction, n_bytes: int) -> Secret:
        """Hand out the next bytes of a stream, which are burned on disk before."""
        with self._moving:
            stream = self.stream(link, direction)
            if stream.broken:
                raise StoreError(f"link {link}: the {direction} stream is damaged; reconnect")
            if stream.held < n_bytes:
                self._refill(link, direction, stream, n_bytes)
            return _next(stream, n_bytes)

    def take_ready(self, link: LinkId, direction: Direction, n_bytes: int) -> Secret | None:
        """Hand out the next bytes if they are burned on disk already and nobody moves a stream.

        Any thread may ask, at any time; None means :meth:`take`.
        """
        if not self._moving.acquire(blocking=False):
            return None
        try:
            stream = self._streams.get((link, direction))
            if stream is None or stream.broken or stream.held < n_bytes:
                return None
            return _next(stream, n_bytes)
        finally:
            self._moving.release()

    def _refill(self, link: LinkId, direction: Direction, stream: Stream, n_bytes: int) -> None:
        """Move the mark ahead and sync it, then let the window have the bytes before it."""
        if self._db.in_group:
            raise RuntimeError("pads are taken outside of a group commit")
        row = self._links.row(link)
        self._links.check_alarm(row)
        need = n_bytes - stream.held
        end = row["tx_end"] if direction == "tx" else row["auth_end"]
        if stream.mark + need > end:
            raise OutOfKey(
                f"link {link}: {end - stream.position} bytes of {direction} authentication key "
                f"left, {n_bytes} wanted"
            )
        # Ahead of need only where the peer surely has the key too: marks must not outrun it.
        ahead = min(stream.mark + max(need, self._stride_bytes), row["tx_end"])
        target = max(stream.mark + need, ahead)
        window = Secret(target - stream.position)
        held = stream.held
        window.reveal()[:held] = stream.window.reveal()[stream.at :]
        try:
            with self._db.transaction():
                self._move(link, direction, stream, target, window.reveal()[held:])
        except Damaged as damage:
            window.wipe()
            self._skip_damage(link, direction, stream, damage)
        except BaseException:
            window.wipe()
            raise
        stream.replace(window, target)

    def _move(
        self, link: LinkId, direction: Direction, stream: Stream, to: int, into: memoryview | None
    ) -> None:
        """Burn the bytes from the mark to ``to`` on disk, after reading them if wanted."""
        position = stream.mark
        region = auth_region(self._links.row(link)["role"], direction)
        while position < to:
            row = self._db.one(
                "SELECT id, auth_start, auth_bytes FROM segments WHERE link = ? AND state = ?"
                " AND auth_start <= ? AND auth_start + auth_bytes > ?",
                *(link, BlockState.LIVE, position, position),
            )
            if row is None:
                raise StoreError(f"link {link}: no block holds byte {position} of {direction}")
            offset = position - row["auth_start"]
            size = min(to - position, row["auth_bytes"] - offset)
            if into is not None:
                done = position - stream.mark
                self._segments.read(row["id"], region, offset, into[done : done + size])
            self._segments.dispose(row["id"], region, offset, size)
            position += size
        self._db.run(
            f"UPDATE links SET {direction}_mark = ?, {direction}_spent = ? WHERE link = ?",  # noqa: S608
            *(to, stream.spent, link),
        )

    def skip(self, link: LinkId, direction: Direction, to: int) -> None:
        """Burn up to position ``to``; less than the present position changes nothing."""
        with self._moving:
            stream = self.stream(link, direction)
            stream.broken = False
            with self._db.transaction():
                if to > stream.mark:
                    self._move(link, direction, stream, to, None)
            if to > stream.mark:
                stream.replace(Secret(0), to)
            elif to > stream.position:
                stream.drop(to - stream.position)

    def _skip_damage(
        self, link: LinkId, direction: Direction, stream: Stream, damage: Damaged
    ) -> None:
        """Burn past a chunk that does not open; the peer follows at the next session."""
        row = self._db.one("SELECT * FROM segments WHERE id = ?", damage.segment)
        assert row is not None
        end = min((damage.number + 1) * CHUNK_BYTES, row["auth_bytes"])
        self.skip(link, direction, row["auth_start"] + end)
        stream.broken = True
        self._links.close_session(link)
        raise StoreError(
            f"link {link} block {row['block_no']}: authentication chunk {damage.number} "
            f"({damage.region.name}) does not open; burned, reconnect"
        )

    def credit(self, link: LinkId, tx_spent: int, rx_spent: int) -> None:
        """Count bytes as spent that the peer knows of and a crash made us forget."""
        with self._moving, self._db.transaction():
            self.stream(link, "tx").spent += tx_spent
            self.stream(link, "rx").spent += rx_spent
            self.persist(link)

    def persist(self, link: LinkId) -> None:
        """Write the exact positions (clean end of a session): nothing of the window is reused."""
        self._db.run(
            "UPDATE links SET tx_spent = ?, rx_spent = ? WHERE link = ?",
            *(self.stream(link, "tx").spent, self.stream(link, "rx").spent, link),
        )


def _next(stream: Stream, n_bytes: int) -> Secret:
    """Move the next bytes out of the window."""
    pad = Secret.from_bytes(stream.window.reveal()[stream.at : stream.at + n_bytes])
    stream.drop(n_bytes)
    stream.spent += n_bytes
    return pad
