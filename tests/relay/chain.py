"""A whole lane in memory: ends, relays, links that break, disks that outlive their process."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from qkdd.base.secret import Secret
from qkdd.relay.account import LaneAccount
from qkdd.relay.actions import (
    FirstAction,
    Hold,
    LastAction,
    SendDown,
    SendUp,
)
from qkdd.relay.first_end import FirstEnd
from qkdd.relay.last_end import LastEnd
from qkdd.relay.messages import DownMessage, LaneConfirm, LaneVerdict, LaneWave, UpMessage
from qkdd.relay.middle import LaneRelay
from qkdd.relay.pool import UnitPool
from qkdd.relay.settings import UNIT_BYTES, Lane, LaneTimes
from qkdd.relay.units import UnitBlock
from tests.relay.disk import Disk, some_bytes
from tests.relay.wires import Births, Wire

FIRST_EPOCH = 1_000_000
PSK_PAIRS = 40


def a_lane(n_links: int, **settings: int) -> Lane:
    return Lane(id="lane", route=tuple(f"n{i}" for i in range(n_links + 1)), **settings)


class Chain:
    def __init__(
        self, lane: Lane, times: LaneTimes, disks: tuple[Disk, Disk] | None = None
    ) -> None:
        self.lane, self.times, self.now_s = lane, times, 0.0
        n_links = lane.n_links
        pairs = [some_bytes(32, "pair", at) for at in range(PSK_PAIRS)]
        first, last = disks or (Disk(list(pairs)), Disk(list(pairs)))
        self.disks = {0: first, n_links: last}
        self.wires = [Wire() for _ in range(n_links)]
        self.births = [Births() for _ in range(n_links)]
        self.last_block = [0] * n_links
        self.accounts = [(LaneAccount(), LaneAccount()) for _ in range(n_links)]
        self.incarnation = [0] * (n_links + 1)
        self.blocks: list[tuple[UnitPool, UnitBlock]] = []
        self.heard: list[UpMessage | DownMessage] = []
        """All that ever crossed a link."""
        self.crash_in: tuple[int, int] | None = None
        self.n_crashes = 0
        self.nodes: list[FirstEnd | LaneRelay | LastEnd] = [
            self._boot(node) for node in range(n_links + 1)
        ]

    # --- processes ---

    def _boot(self, node: int) -> FirstEnd | LaneRelay | LastEnd:
        self.incarnation[node] += 1
        incarnation = 1000 * node + self.incarnation[node]
        if node == 0:
            disk = self.disks[0]
            return FirstEnd(
                self.lane,
                self.times,
                disk.association(self.lane),
                incarnation=incarnation,
                next_number=disk.next_number,
                newest_epoch=max(disk.ready, default=0),
                verdict=disk.verdict,
                account=self.accounts[0][0],
            )
        if node == self.lane.n_links:
            disk, held = self.disks[node], None
            newest = max(disk.ready, default=0)
            if disk.held is not None:
                held = Hold(disk.held[0], Secret.from_bytes(disk.held[1]))
                newest = max(newest, held.confirm.epochs[-1])
            return LastEnd(
                self.lane,
                self.times,
                disk.association(self.lane),
                incarnation=incarnation,
                newest_epoch=newest,
                held=held,
                account=self.accounts[-1][1],
            )
        return LaneRelay(
            self.lane,
            node,
            self.times,
            incarnation=incarnation,
            up=self.accounts[node - 1][1],
            down=self.accounts[node][0],
        )

    def crash(self, node: int) -> None:
        """Kill a process; its neighbours' connections break, and blocks not yet live are lost."""
        self.n_crashes += 1
        self.crash_in = None
        for link, side in self._links_of(node):
            self.disconnect(link)
            self.accounts[link][side].restarted()
            (self.births[link].upstream if side == 0 else self.births[link].downstream).clear()
        self.nodes[node] = self._boot(node)

    def _links_of(self, node: int) -> Iterator[tuple[int, int]]:
        if node > 0:
            yield node - 1, 1
        if node < self.lane.n_links:
            yield node, 0

    def _carry_out(self, node: int, actions: Sequence[FirstAction | LastAction]) -> None:
        for action in actions:
            if self.crash_in is not None and self.crash_in[0] == node:
                if self.crash_in[1] == 0:
                    self.crash(node)
                    return
                self.crash_in = (node, self.crash_in[1] - 1)
            match action:
                case SendDown(message):
                    self._check_shredded(node, message)
                    if isinstance(message, LaneVerdict) and node == 0:
                        assert self.first.verdict == message, "said before it was synced"
                    self._send(node, self.wires[node], self.wires[node].down, message)
                case SendUp(message):
                    if isinstance(message, LaneConfirm) and node == self.lane.n_links:
                        held = self.disks[node].held
                        assert held is not None
                        assert held[0] == message, "said before it was synced"
                    self._send(node, self.wires[node - 1], self.wires[node - 1].up, message)
                case _:
                    self.disks[node].write(action)

    def _send(
        self, node: int, wire: Wire, queue: deque[bytes], message: UpMessage | DownMessage
    ) -> None:
        self.heard.append(message)
        if wire.is_up:
            queue.append(msgspec.msgpack.encode(message))

    def _check_shredded(self, node: int, message: DownMessage) -> None:
        """A wave leaves only when both units of each number are zeros."""
        relay = self.nodes[node]
        if not isinstance(message, LaneWave) or not isinstance(relay, LaneRelay):
            return
        for number in message.run:
            for pool in (relay.up, relay.down):
                ref = pool.ref(number)
                assert ref is not None
                assert not pool.has(number)
                (block,) = [
                    one for of, one in self.blocks if of is pool and one.block_no == ref.block_no
                ]
                secret = block._units
                at = UNIT_BYTES * ref.index
                assert secret.wiped or bytes(secret.reveal()[at:][:UNIT_BYTES]) == bytes(32)

    # --- wires ---

    def connect(self, link: int) -> None:
        wire = self.wires[link]
        if wire.is_up:
            return
        wire.is_up = True
        upstream, downstream = self.nodes[link], self.nodes[link + 1]
        assert not isinstance(upstream, LastEnd)
        assert not isinstance(downstream, FirstEnd)
        self._carry_out(link, upstream.connected_down())
        self._carry_out(link + 1, downstream.connected_up())

    def disconnect(self, link: int) -> None:
        wire = self.wires[link]
        wire.is_up = False
        wire.down.clear()
        wire.up.clear()

    def deliver_down(self, link: int, *, twice: bool = False) -> bool:
        if not self.wires[link].down:
            return False
        message = msgspec.msgpack.decode(self.wires[link].down.popleft(), type=DownMessage)
        node = link + 1
        for _ in range(2 if twice else 1):
            receiver = self.nodes[node]
            assert not isinstance(receiver, FirstEnd)
            if isinstance(receiver, LastEnd):
                actions = receiver.receive_from_up(message, self.now_s, self.epoch)
            else:
                actions = receiver.receive_from_up(message, self.now_s)
            self._carry_out(node, actions)
        return True

    def deliver_up(self, link: int, *, twice: bool = False) -> bool:
        if not self.wires[link].up:
            return False
        message = msgspec.msgpack.decode(self.wires[link].up.popleft(), type=UpMessage)
        for _ in range(2 if twice else 1):
            receiver = self.nodes[link]
            if isinstance(receiver, FirstEnd):
                self._carry_out(link, receiver.receive_from_down(message))
            else:
                assert isinstance(receiver, LaneRelay)
                self._carry_out(link, receiver.receive_from_down(message, self.now_s))
        return True

    def deliver_all(self) -> None:
        links = range(self.lane.n_links)
        while any([self.deliver_down(i) for i in links] + [self.deliver_up(i) for i in links]):
            pass

    # --- light and time ---

    def make_block(self, link: int, n_units: int, units: bytes | None = None) -> None:
        """A block goes live; each end takes it up when :meth:`be_born` says so."""
        self.last_block[link] += 1
        number = self.last_block[link]
        key = units or some_bytes(UNIT_BYTES * n_units, "units", link, number)
        self.births[link].upstream.append((number, key))
        self.births[link].downstream.append((number, key))

    def be_born(self, link: int, *, upstream: bool) -> bool:
        births = self.births[link].upstream if upstream else self.births[link].downstream
        if not births:
            return False
        number, key = births.popleft()
        block = UnitBlock(number, Secret.from_bytes(key), self.now_s)
        node = link if upstream else link + 1
        machine = self.nodes[node]
        if isinstance(machine, FirstEnd):
            actions: Sequence[FirstAction | LastAction] = machine.born(block, self.now_s)
        elif isinstance(machine, LastEnd):
            actions = machine.born(block, self.now_s, self.epoch)
        else:
            self.blocks.append((machine.down if upstream else machine.up, block))
            born = machine.born_down if upstream else machine.born_up
            actions = born(block, self.now_s)
        self._carry_out(node, actions)
        return True

    def light(self, n_units: int) -> None:
        """A block on every link, live at once everywhere."""
        for link in range(self.lane.n_links):
            self.make_block(link, n_units)
            while self.be_born(link, upstream=True) or self.be_born(link, upstream=False):
                pass

    @property
    def epoch(self) -> int:
        return FIRST_EPOCH + int(self.now_s)

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        for node in range(self.lane.n_links + 1):
            machine = self.nodes[node]
            if isinstance(machine, LastEnd):
                self._carry_out(node, machine.tick(self.now_s, self.epoch))
            else:
                self._carry_out(node, machine.tick(self.now_s))

    def connect_all(self) -> None:
        for link in range(self.lane.n_links):
            self.connect(link)

    def come_to_rest(self) -> None:
        """Heal everything, and wait until the fate of every unit is known at every node."""
        self.crash_in = None
        self.connect_all()
        for link in range(self.lane.n_links):
            for upstream in (True, False):
                while self.be_born(link, upstream=upstream):
                    pass
        for _ in range(30):
            self.deliver_all()
            self.pass_time(self.times.hold_s / 2)
        self.deliver_all()

    # --- what must hold ---

    @property
    def first(self) -> Disk:
        return self.disks[0]

    @property
    def last(self) -> Disk:
        return self.disks[self.lane.n_links]

    def check(self) -> None:
        """What holds at every moment."""
        for number, key in self.last.ready.items():
            assert self.first.ready[number] == key, "the ends differ in a key"
        assert not self.first.came & self.first.void
        for accounts in self.accounts:
            for account in accounts:
                assert account.under_way >= 0
                assert account.relayed >= 0
                assert account.burned >= 0

    def check_at_rest(self) -> None:
        self.check()
        assert self.first.ready == self.last.ready
        assert self.first.pairs == self.last.pairs
        assert self.first.n_spent == self.last.n_spent
        for upper, lower in pairwise(self.nodes):
            assert set(lower._open) == set(upper._open), "a number is open at one end of a link"
        assert set(self.nodes[0]._open) == set(self.nodes[0]._unbound)
        for upstream, downstream in self.accounts:
            assert upstream.under_way == downstream.under_way == 0
            if not self.n_crashes:
                assert upstream == downstream
