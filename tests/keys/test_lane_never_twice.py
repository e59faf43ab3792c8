"""An end of a lane under random work, kills, full disks and rot: no SAE gets a key twice, and every
key is accounted for."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from qkdd.base.errors import StoreError
from qkdd.base.ids import SaeId
from qkdd.base.secret import Secret
from qkdd.keys.errors import DamagedLane, KeyNotEntitled, KeyNotFound
from tests.keys.lane_end import ALSO, FAR, LANE, NEAR, LaneEnd, key_of, keys_of, pad_of

SAES = st.sampled_from([NEAR, ALSO, FAR])
ENTITLED = st.sampled_from([(NEAR,), (NEAR, ALSO), (ALSO,)])
EVERYBODY = st.permutations([NEAR, ALSO, FAR, NEAR, ALSO])
NUMBERS = st.integers(0, 120)
SOME = st.sets(st.integers(0, 39), min_size=1, max_size=20)


class OneEnd(RuleBasedStateMachine):
    """The model: which keys were made, who got them, and which pairs are left."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.end = LaneEnd(Path(self.folder.name))
        self.next = 0
        self.held: list[int] = []
        self.ready: set[int] = set()
        self.given: dict[int, set[SaeId]] = {}
        self.may: dict[int, tuple[SaeId, ...]] = {}
        self.wiped: set[int] = set()
        self.counts = Counter[str]()
        self.pads = [pad_of(pair) for pair in range(40)]
        self.is_full = False

    def teardown(self) -> None:
        self.end.store.close()
        self.folder.cleanup()

    @property
    def db(self):
        return self.end.store._db

    def fresh(self, some: set[int]) -> list[int]:
        """Numbers that were never used; they may lie between those of other batches."""
        return sorted(3 * n + len(self.ready) % 3 + self.next for n in some)

    @precondition(lambda self: not self.held and len(self.pads) > 1)
    @rule(some=SOME, step=st.sampled_from([1, 7, 130]))
    def hold(self, some: set[int], step: int) -> None:
        numbers = self.fresh(some)
        try:
            self.end.hold(numbers)
        except StoreError:
            assert self.is_full
            return
        self.held = numbers
        self.next = numbers[-1] + step

    @precondition(lambda self: self.held)
    @rule(renew=st.booleans())
    def verdict_makes_them_ready(self, renew: bool) -> None:
        renew = renew and len(self.held) > 1
        numbers = self.held[:-1] if renew else self.held
        pad = pad_of(self.end.pair + len(self.pads))
        try:
            self.end.ready(numbers, renew=renew)
        except StoreError:
            assert self.is_full
            return
        self.settle(numbers)
        if renew:
            self.pads.append(pad)

    def settle(self, numbers: list[int]) -> None:
        self.wiped.update(set(self.held) - set(numbers))
        for number in numbers:
            if number not in self.given:
                self.counts["made"] += 1
                self.ready.add(number)
        self.held = []
        self.pads.pop(0)

    @precondition(lambda self: len(self.pads) > 1)
    @rule(ready=st.booleans(), some=SOME)
    def first_end_judges(self, ready: bool, some: set[int]) -> None:
        """Without a hold before; at an end that holds, the verdict is of what it holds."""
        numbers = self.held or self.fresh(some)
        try:
            if ready:
                self.end.ready(numbers)
            else:
                self.end.judge()
        except StoreError:
            assert self.is_full
            return
        self.next = max(self.next, numbers[-1] + 1)
        self.settle(numbers if ready else [])

    @rule(number=NUMBERS, sae=SAES, entitled=ENTITLED)
    def take_any(self, number: int, sae: SaeId, entitled: tuple[SaeId, ...]) -> None:
        self.take(number, sae, entitled)

    @precondition(lambda self: self.ready or self.held)
    @rule(at=st.integers(0, 99), sae=st.sampled_from([NEAR, ALSO]))
    def take_one_that_is_here(self, at: int, sae: SaeId) -> None:
        here = sorted({*self.ready, *self.held})
        self.take(here[at % len(here)], sae, (NEAR, ALSO))

    @precondition(lambda self: self.given)
    @rule(at=st.integers(0, 99), sae=SAES, entitled=ENTITLED)
    def take_one_that_was_given(self, at: int, sae: SaeId, entitled: tuple[SaeId, ...]) -> None:
        self.take(list(self.given)[-1 - at % len(self.given)], sae, entitled)

    @precondition(lambda self: self.ready)
    @rule(at=st.integers(0, 99), wanted=EVERYBODY)
    def everybody_wants_one(self, at: int, wanted: list[SaeId]) -> None:
        number = sorted(self.ready)[at % len(self.ready)]
        for sae in wanted:
            self.take(number, sae, (NEAR, ALSO))

    @precondition(lambda self: len(self.held) > 1)
    @rule(wanted=EVERYBODY, ready=st.booleans())
    def some_want_one_before_its_verdict(self, wanted: list[SaeId], ready: bool) -> None:
        number = self.held[0]
        for sae in wanted[:2]:
            self.take(number, sae, (NEAR, ALSO))
        self.first_end_judges(ready, set())
        for sae in wanted:
            self.take(number, sae, (NEAR, ALSO))

    @precondition(lambda self: self.ready)
    @rule(wanted=EVERYBODY)
    def some_want_one_before_it_is_burned(self, wanted: list[SaeId]) -> None:
        number = min(self.ready)
        self.take(number, wanted[0], (NEAR, ALSO))
        self.burn(number, 1)
        for sae in wanted:
            self.take(number, sae, (NEAR, ALSO))

    def take(self, number: int, sae: SaeId, entitled: tuple[SaeId, ...]) -> None:
        try:
            key = self.end.take(number, sae, entitled)
        except KeyNotEntitled:
            assert sae not in entitled or sae not in self.may.get(number, entitled)
            return
        except KeyNotFound:
            assert self.is_owed(number, sae, entitled) is False
            return
        except DamagedLane:
            return self.lost()
        except StoreError:
            assert self.is_full
            return
        assert self.is_owed(number, sae, entitled)
        assert key == key_of(number)
        self.note(number, sae, entitled)

    def is_owed(self, number: int, sae: SaeId, entitled: tuple[SaeId, ...]) -> bool:
        """Whether ``sae`` must get the key of ``number`` now."""
        if sae in self.given.get(number, ()):
            return False
        if number in self.given:
            return sae in self.may[number] and number not in self.wiped
        return number in self.ready or number in self.held[:-1]

    def note(self, number: int, sae: SaeId, entitled: tuple[SaeId, ...]) -> None:
        if number not in self.given:
            self.counts["delivered"] += 1
            self.counts["made"] += number in self.held
            self.may[number] = entitled
        self.given.setdefault(number, set()).add(sae)
        self.ready.discard(number)

    @rule(first=NUMBERS, count=st.integers(0, 60))
    def burn(self, first: int, count: int) -> None:
        numbers = range(first, first + count)
        try:
            n_burned = self.end.store.burn_lane_keys(LANE, self.end.generation, numbers)
        except DamagedLane:
            return self.lost()
        except StoreError:
            assert self.is_full
            return
        gone = self.ready & set(numbers)
        assert n_burned == len(gone)
        self.counts["burned"] += n_burned
        self.ready -= gone
        self.wiped.update(n for n in self.given if n in numbers and n not in self.held)

    @rule()
    def kill(self) -> None:
        self.end.kill()
        self.is_full = False
        memory = self.end.recall()
        assert [
            bytes(memory.pairs.reveal()[at : at + 32]) for at in range(0, len(memory.pairs), 32)
        ] == self.pads
        if self.held:
            assert memory.held[1] == keys_of(self.held)
        else:
            assert memory.held is None

    @rule(numbers=st.lists(NUMBERS, max_size=5))
    def a_group_commit_fails(self, numbers: list[int]) -> None:
        """All that was taken in it is wiped, and may be taken again."""
        taken: list[Secret] = []

        def group() -> None:
            with self.end.store.transaction():
                for number in numbers:
                    try:
                        taken.append(
                            self.end.store.take_lane_key(
                                LANE, self.end.generation, number, NEAR, [NEAR]
                            )
                        )
                    except (KeyNotFound, KeyNotEntitled, StoreError):
                        continue
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            group()
        assert all(secret.wiped for secret in taken)

    @rule()
    def the_disk_fills(self) -> None:
        self.db.run(f"PRAGMA max_page_count = {self.db.one('PRAGMA page_count')[0]}")
        self.is_full = True

    @rule()
    def there_is_room_again(self) -> None:
        self.db.run("PRAGMA max_page_count = 1000000")
        self.is_full = False

    @precondition(lambda self: not self.held)
    @rule()
    def a_new_generation(self) -> None:
        self.end.generation += 1
        try:
            self.end.recall()
        except StoreError:
            assert self.is_full
            self.end.generation -= 1
            return
        self.counts["burned"] += len(self.ready)
        self.ready.clear()
        self.wiped.update(self.given)

    @precondition(lambda self: self.ready and not self.is_full)
    @rule(at=st.integers(0, 500))
    def a_bit_rots(self, at: int) -> None:
        """One key is lost when it is touched, and only that one."""
        row = self.db.one("SELECT * FROM lane_keys WHERE kind = 2 ORDER BY first LIMIT 1")
        at %= len(row["records"])
        rotten = bytearray(row["records"])
        rotten[at] ^= 4
        self.db.run("UPDATE lane_keys SET records = ? WHERE id = ?", bytes(rotten), row["id"])
        number = int.from_bytes(row["numbers"][8 * (at // 48) :][:8], "big")
        with pytest.raises(DamagedLane):
            self.end.take(number, NEAR, (NEAR,))
        self.ready.remove(number)
        self.counts["burned"] += 1

    def lost(self) -> None:
        raise AssertionError("rot was found where there is none")

    @invariant()
    def every_key_is_accounted_for(self) -> None:
        stock = self.end.store.lane_stock(LANE)
        assert (stock.made, stock.delivered, stock.burned, stock.ready, stock.held) == (
            *(self.counts[name] for name in ("made", "delivered", "burned")),
            *(len(self.ready), len(self.held)),
        )
        assert stock.newest == max(self.ready, default=None)

    @invariant()
    def nothing_is_remembered_of_keys_that_are_over(self) -> None:
        rows = self.db.all("SELECT DISTINCT number FROM lane_recipients")
        assert {row["number"] for row in rows} == {
            number
            for number, saes in self.given.items()
            if number in self.held or (number not in self.wiped and saes < set(self.may[number]))
        }

    @invariant()
    def the_numbers_are_those_that_are_here(self) -> None:
        numbers = self.end.store.lane_numbers(LANE, self.end.generation)
        assert numbers.ready == sorted(self.ready)
        assert numbers.held == self.held


@pytest.mark.parametrize("n_examples", [30])
def test_no_sae_gets_a_key_twice_and_the_account_is_exact(n_examples) -> None:
    run_state_machine_as_test(
        OneEnd,
        settings=settings(
            max_examples=n_examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
