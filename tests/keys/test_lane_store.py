"""What an end of a lane keeps: marks, pads, held keys, READY keys; each given out once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qkdd.base.errors import StoreError
from qkdd.base.secret import Secret
from qkdd.keys.errors import DamagedLane, KeyNotEntitled, KeyNotFound
from qkdd.keys.lane_rows import ROW_KEYS
from tests.keys.lane_end import (
    ALSO,
    FAR,
    LANE,
    N_PAIRS,
    NEAR,
    PSK,
    LaneEnd,
    key_of,
    keys_of,
    pad_of,
)


@pytest.fixture
def end(tmp_path: Path) -> Iterator[LaneEnd]:
    end = LaneEnd(tmp_path)
    yield end
    end.store.close()


def pads(memory) -> list[bytes]:
    view = bytes(memory.pairs.reveal())
    return [view[at : at + 32] for at in range(0, len(view), 32)]


def test_a_lane_without_an_end_to_end_key_is_not_remembered(end) -> None:
    assert end.store.lane_memory("other", 0) is None
    assert end.store.lane_stock("other") is None
    assert end.store.lanes() == [LANE]


def test_an_end_resumes_with_what_the_couriered_key_gave(end) -> None:
    memory = end.recall()
    assert bytes(memory.hash_keys.reveal()) == PSK[:32]
    assert pads(memory) == [pad_of(pair) for pair in range(N_PAIRS)]
    assert (memory.first_pair, memory.failures, memory.next_number) == (0, 0, 0)
    assert memory.verdict is None
    assert memory.held is None


def test_an_end_resumes_after_a_kill_where_it_was(end) -> None:
    end.store.mark_lane(LANE, 0, 64)
    end.store.lane_tried(LANE, 2)
    end.ready(range(10, 26), renew=True)
    end.judge()
    end.hold([30, 32, 40])
    end.kill()
    memory = end.recall()
    assert pads(memory) == [pad_of(pair) for pair in range(2, N_PAIRS + 1)]
    assert (memory.first_pair, memory.failures, memory.next_number) == (2, 2, 64)
    assert memory.verdict == b"verdict 1"
    confirm, keys = memory.held
    assert confirm == b"confirm 2"
    assert keys == keys_of([30, 32, 40])
    numbers = end.store.lane_numbers(LANE, 0)
    assert numbers.ready == list(range(10, 26))
    assert numbers.held == [30, 32, 40]


def test_each_entitled_sae_gets_a_key_once_even_over_kills(end) -> None:
    end.ready([7, 8, 9])
    both = (NEAR, ALSO)
    assert end.take(8, NEAR, both) == key_of(8)
    end.kill()
    with pytest.raises(KeyNotFound):
        end.take(8, NEAR, both)
    assert end.take(8, ALSO, both) == key_of(8)
    for sae in both:
        with pytest.raises(KeyNotFound):
            end.take(8, sae, both)
    stock = end.store.lane_stock(LANE)
    assert (stock.ready, stock.delivered, stock.newest) == (2, 1, 9)


def test_the_saes_of_the_first_call_stand(end) -> None:
    end.ready([7, 8])
    end.take(7, NEAR, (NEAR, ALSO))
    with pytest.raises(KeyNotEntitled):
        end.take(7, FAR, (FAR,))
    with pytest.raises(KeyNotEntitled):
        end.take(8, FAR, (NEAR,))
    assert end.take(7, ALSO, (ALSO,)) == key_of(7)


def test_a_number_that_is_not_here_is_not_found(end) -> None:
    end.ready([7, 9])
    for number in (-1, 6, 8, 10, 2**47, 2**64):
        with pytest.raises(KeyNotFound):
            end.take(number)
    with pytest.raises(KeyNotFound):
        end.store.take_lane_key(LANE, 1, 7, NEAR, (NEAR,))
    with pytest.raises(KeyNotFound):
        end.store.take_lane_key("other", 0, 7, NEAR, (NEAR,))


def test_a_key_without_a_verdict_is_given_but_for_the_last_and_counted_once(end) -> None:
    end.hold([5, 6, 7, 8])
    assert end.take(5) == key_of(5)
    assert end.take(6, NEAR, (NEAR, ALSO)) == key_of(6)
    with pytest.raises(KeyNotFound):
        end.take(8)
    end.kill()
    assert end.recall().held[1] == keys_of([5, 6, 7, 8])
    for number in (5, 6):
        with pytest.raises(KeyNotFound):
            end.take(number)
    end.ready([5, 6, 7], renew=True)
    assert end.store.lane_numbers(LANE, 0).ready == [7]
    with pytest.raises(KeyNotFound):
        end.take(5)
    assert end.take(6, ALSO, (ALSO,)) == key_of(6)
    assert end.take(7) == key_of(7)
    stock = end.store.lane_stock(LANE)
    assert (stock.made, stock.ready, stock.held, stock.delivered) == (3, 0, 0, 3)


def test_keys_without_a_verdict_go_with_a_verdict_that_makes_nothing_ready(end) -> None:
    end.hold([5, 6, 7])
    end.take(6)
    end.judge()
    assert end.store.lane_numbers(LANE, 0).held == []
    for number in (5, 6, 7):
        with pytest.raises(KeyNotFound):
            end.take(number)
    stock = end.store.lane_stock(LANE)
    assert (stock.made, stock.delivered, stock.ready) == (1, 1, 0)


def test_burned_keys_are_gone_and_counted(end) -> None:
    end.ready(range(100))
    end.take(3)
    end.take(4, NEAR, (NEAR, ALSO))
    assert end.store.burn_lane_keys(LANE, 0, range(50)) == 48
    with pytest.raises(KeyNotFound):
        end.take(4, ALSO, (ALSO,))
    stock = end.store.lane_stock(LANE)
    assert (stock.ready, stock.delivered, stock.burned, stock.newest) == (50, 2, 48, 99)
    assert end.store.lane_numbers(LANE, 0).ready == list(range(50, 100))
    assert end.store.burn_lane_keys(LANE, 0, []) == 0


def test_a_batch_costs_one_row_and_a_used_up_row_goes(end) -> None:
    n_pads = end.store._db.one("SELECT count(*) AS n FROM lane_keys")["n"]
    end.ready(range(16))
    end.ready(range(20, 20 + ROW_KEYS + 1))
    rows = end.store._db.all("SELECT n FROM lane_keys WHERE kind = 2 ORDER BY first")
    assert [row["n"] for row in rows] == [16, ROW_KEYS, 1]
    for number in range(16):
        end.take(number)
    rows = end.store._db.all("SELECT n FROM lane_keys")
    assert len(rows) == n_pads + 2


@pytest.mark.parametrize("pair", [1, 2**40])
def test_a_pair_out_of_turn_is_refused_and_changes_nothing(end, pair) -> None:
    before = end.store._db.all("SELECT * FROM lanes")
    end.pair = pair
    for act in (lambda: end.hold([1]), lambda: end.ready([1]), end.judge):
        with pytest.raises(ValueError, match="unspent"):
            act()
    assert end.store._db.all("SELECT * FROM lanes") == before
    end.recall()
    end.ready([1])
    end.pair -= 1
    with pytest.raises(ValueError, match="unspent"):
        end.ready([2])


def test_pads_that_the_other_end_lacks_are_cut_out_and_those_between_stay(end) -> None:
    end.store.trim_lane_pads(LANE, 3, 7)
    end.kill()
    memory = end.recall()
    assert pads(memory) == [pad_of(pair) for pair in range(3, 7)]
    assert memory.first_pair == 3


@pytest.mark.parametrize(("first", "last"), [(0, N_PAIRS + 1), (5, 5), (2**40, 2**41)])
def test_pads_that_are_not_here_cannot_be_kept(end, first, last) -> None:
    with pytest.raises(ValueError, match="not all here"):
        end.store.trim_lane_pads(LANE, first, last)
    assert len(pads(end.recall())) == N_PAIRS


def test_a_number_is_not_ready_twice(end) -> None:
    end.ready([1, 2, 3])
    end.take(2, NEAR, (NEAR, ALSO))
    for number in (2, 3):
        with pytest.raises(ValueError, match="already"):
            end.ready([number, 9])
    end.recall()


def test_a_mark_does_not_go_back(end) -> None:
    end.store.mark_lane(LANE, 0, 64)
    with pytest.raises(ValueError, match="below 64"):
        end.store.mark_lane(LANE, 0, 63)


def test_a_later_generation_burns_the_keys_of_the_last_and_keeps_the_pads(end) -> None:
    end.store.mark_lane(LANE, 0, 64)
    end.ready([1, 2, 3])
    end.take(2)
    end.hold([8, 9])
    end.generation = 3
    memory = end.recall()
    assert (memory.next_number, memory.verdict, memory.held) == (0, None, None)
    assert memory.first_pair == 2  # the confirmation may have gone out
    stock = end.store.lane_stock(LANE)
    assert (stock.ready, stock.delivered, stock.burned) == (0, 1, 2)
    with pytest.raises(StoreError, match="has seen 3"):
        end.store.lane_memory(LANE, 2)
    with pytest.raises(KeyNotFound):
        end.store.take_lane_key(LANE, 0, 1, NEAR, (NEAR,))


def test_a_call_for_a_generation_that_was_not_opened_is_a_bug(end) -> None:
    with pytest.raises(ValueError, match="not open"):
        end.store.mark_lane(LANE, 1, 64)
    with pytest.raises(ValueError, match="not open"):
        end.store.burn_lane_keys("other", 0, [1])


# --- the couriered key ---


def test_a_second_end_to_end_key_needs_a_word_and_burns_all_but_the_numbers(end) -> None:
    end.store.mark_lane(LANE, 0, 64)
    end.ready([1, 2, 3])
    end.hold([8, 9])
    end.store.lane_tried(LANE, 3)
    other = bytes(reversed(PSK))
    with pytest.raises(StoreError, match="burns"):
        end.store.install_lane_psk(LANE, Secret.from_bytes(other))
    end.store.install_lane_psk(LANE, Secret.from_bytes(other), rekey=True)
    memory = end.recall()
    assert (memory.next_number, memory.first_pair, memory.failures) == (64, 0, 0)
    assert memory.held is None
    assert bytes(memory.hash_keys.reveal()) == other[:32]
    assert end.store.lane_numbers(LANE, 0).ready == []


def test_a_key_whose_pads_were_used_is_not_laid_in_again(end) -> None:
    end.store.install_lane_psk(LANE, Secret.from_bytes(PSK), rekey=True)
    end.hold([1, 2])
    with pytest.raises(StoreError, match="used before"):
        end.store.install_lane_psk(LANE, Secret.from_bytes(PSK), rekey=True)
    end.judge()
    with pytest.raises(StoreError, match="used before"):
        end.store.install_lane_psk(LANE, Secret.from_bytes(PSK), rekey=True)


@pytest.mark.parametrize("n_bytes", [0, 32, 95])
def test_a_key_too_short_for_a_pair_is_refused(end, n_bytes) -> None:
    with pytest.raises(ValueError, match="below 96"):
        end.store.install_lane_psk("other", Secret(n_bytes))


# --- disks ---


def test_a_key_that_does_not_open_is_burned_and_the_others_are_not(end) -> None:
    end.ready(range(10))
    row = end.store._db.one("SELECT * FROM lane_keys WHERE kind = 2")
    rotten = bytearray(row["records"])
    rotten[48 * 4] ^= 1
    end.store._db.run("UPDATE lane_keys SET records = ? WHERE id = ?", bytes(rotten), row["id"])
    with pytest.raises(DamagedLane):
        end.take(4)
    with pytest.raises(KeyNotFound):
        end.take(4)
    assert end.take(5) == key_of(5)
    stock = end.store.lane_stock(LANE)
    assert (stock.ready, stock.delivered, stock.burned) == (8, 1, 1)


@pytest.mark.parametrize(
    "change",
    [
        "numbers = x'00'",
        "numbers = zeroblob(80)",
        "records = 'text'",
        "records = zeroblob(47)",
        "wrapped_key = x''",
        "wrapped_key = 7",
        "wrapped_key = zeroblob(60)",
        "n = 11",
        "n = 'many'",
    ],
)
def test_a_row_that_was_written_to_is_burned_whole(end, change) -> None:
    end.ready(range(10))
    end.store._db.run(f"UPDATE lane_keys SET {change} WHERE kind = 2")
    with pytest.raises((DamagedLane, KeyNotFound)):
        end.take(4)
    with pytest.raises(KeyNotFound):
        end.take(4)
    end.store.burn_lane_keys(LANE, 0, range(10))


def test_pads_or_held_keys_that_do_not_open_ask_for_a_new_key(end) -> None:
    end.hold([1, 2])
    for kind in (1, 0):
        end.store._db.run(
            "UPDATE lane_keys SET records = zeroblob(length(records)) WHERE kind = ?", kind
        )
        with pytest.raises(StoreError, match="rekey"):
            end.store.lane_memory(LANE, 0)


def test_a_key_moved_to_another_number_does_not_open(end) -> None:
    end.ready([1, 2])
    row = end.store._db.one("SELECT * FROM lane_keys WHERE kind = 2")
    swapped = row["records"][48:] + row["records"][:48]
    end.store._db.run("UPDATE lane_keys SET records = ? WHERE id = ?", swapped, row["id"])
    with pytest.raises(DamagedLane):
        end.take(1)


def test_a_full_disk_refuses_and_nothing_is_lost_or_given_twice(end) -> None:
    end.ready(range(10))
    db = end.store._db
    db.run(f"PRAGMA max_page_count = {db.one('PRAGMA page_count')[0]}")
    with pytest.raises(StoreError, match="full"):
        end.ready(range(1_000, 3_000))
    end.recall()
    stock = end.store.lane_stock(LANE)
    assert (stock.ready, stock.held) == (10, 0)
    db.run("PRAGMA max_page_count = 1000000")
    end.ready(range(1_000, 3_000))
    assert end.take(3) == key_of(3)


def test_a_group_commit_that_fails_gives_no_key(end) -> None:
    end.ready(range(10))
    taken = []

    def group() -> None:
        with end.store.transaction():
            taken.append(end.store.take_lane_key(LANE, 0, 3, NEAR, (NEAR,)))
            taken.append(end.store.lane_memory(LANE, 0).pairs)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        group()
    assert all(secret.wiped for secret in taken)
    assert end.take(3) == key_of(3)


def records(end) -> dict[tuple[int, int], bytes]:
    """Every sealed secret, by kind and number."""
    found = {}
    for row in end.store._db.all("SELECT * FROM lane_keys"):
        for at in range(row["n"]):
            number = int.from_bytes(row["numbers"][8 * at :][:8], "big")
            found[row["kind"], number] = row["records"][48 * at :][:48]
    return found


def test_what_is_used_up_is_in_no_file_any_more_not_even_under_seal(end) -> None:
    """The row's own key goes on living for the others, so the sealed bytes themselves must go."""
    end.ready(range(16), renew=True)
    end.hold(range(20, 30))
    before = records(end)
    pad, held, ready = 0, 1, 2
    with end.store.transaction():
        end.take(3)
        end.take(5)
        end.take(6, NEAR, (NEAR, ALSO))
    end.store.burn_lane_keys(LANE, 0, [8])
    disk = end.on_disk()
    assert all(before[ready, number] not in disk for number in (3, 5, 6, 8))
    assert before[ready, 4] in disk
    given = records(end)[3, 6]
    end.take(6, ALSO, (NEAR, ALSO))
    assert given not in end.on_disk()
    assert before[pad, 1] in disk
    assert before[held, 20] in disk
    end.judge()
    disk = end.on_disk()
    assert before[pad, 1] not in disk
    assert before[held, 20] not in disk
    wrapped = {row["wrapped_key"] for row in end.store._db.all("SELECT * FROM lane_keys")}
    end.store.install_lane_psk(LANE, Secret.from_bytes(bytes(reversed(PSK))), rekey=True)
    disk = end.on_disk()
    assert not [record for record in before.values() if record in disk]
    assert not [key for key in wrapped if key in disk]


def test_no_key_and_no_pad_is_on_disk_in_the_clear(end) -> None:
    end.ready(range(16), renew=True)
    end.hold([20, 21])
    disk = end.on_disk()
    assert b"verdict 0" in disk
    for secret in (key_of(3), key_of(20), pad_of(0), pad_of(5), pad_of(N_PAIRS), PSK[:16]):
        assert secret not in disk
