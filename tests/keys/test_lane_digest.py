"""Digests of a lane's keys: equal where both ends have the same left, and telling nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qkdd.base.errors import StoreError
from qkdd.base.ids import NodeId
from qkdd.base.secret import Secret
from qkdd.keys.lane_digest import LaneDigestRow, read_lane_digests
from tests.keys.lane_end import LANE, LaneEnd, key_of


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[list[LaneEnd]]:
    folders = [tmp_path / name for name in ("first", "last")]
    for folder in folders:
        folder.mkdir()
    ends = [LaneEnd(folder) for folder in folders]
    yield ends
    for end in ends:
        end.store.close()


def digests(end: LaneEnd, master: bytes = b"m" * 32, node: str = "end") -> list[LaneDigestRow]:
    with Secret.from_bytes(master) as master_key:
        return read_lane_digests(end.path, master_key, NodeId(node))


def test_both_ends_print_the_same_whatever_their_batches_were(ends) -> None:
    first, last = ends
    first.ready(range(60, 70))
    first.ready([*range(20), 100])
    last.hold([*range(20), 60, 100])
    last.ready([*range(20), 60, 100])
    last.ready(range(61, 70))
    assert digests(first) == digests(last)
    assert [(row.first, row.n_keys) for row in digests(first)] == [(0, 24), (64, 7)]


def test_one_key_that_is_gone_or_is_another_changes_the_digest_of_its_range_only(ends) -> None:
    first, last = ends
    first.ready(range(128))
    last.ready(range(128))
    last.take(70)
    here, there = digests(first), digests(last)
    assert here[0] == there[0]
    assert (here[1].n_keys, there[1].n_keys) == (64, 63)
    first.store.burn_lane_keys(LANE, 0, [70])
    assert digests(first) == digests(last)
    first.store.burn_lane_keys(LANE, 0, [3])
    with Secret.from_bytes(key_of(4)) as another:
        first.store.ready_lane(LANE, 0, [3], another, b"verdict", first.pair, None)
    assert [row.n_keys for row in digests(first)] == [row.n_keys for row in digests(last)]
    assert digests(first)[0].digest != digests(last)[0].digest


def test_a_row_that_does_not_open_is_named(ends) -> None:
    end = ends[0]
    end.ready(range(64))
    before = digests(end)
    end.store._db.run("UPDATE lane_keys SET records = x'00' WHERE kind = 2 AND first = 0")
    (row,) = digests(end)
    assert (row.state, row.digest) == ("damaged", "")
    end.store._db.run("UPDATE lane_keys SET wrapped_key = zeroblob(60) WHERE kind = 2")
    assert {row.state for row in digests(end)} == {"damaged"}
    assert before[0].state == "ready"


def test_another_master_key_or_node_reads_nothing(ends) -> None:
    ends[0].ready(range(3))
    for words in ((b"x" * 32, "end"), (b"m" * 32, "other")):
        with pytest.raises(StoreError, match="node name"):
            digests(ends[0], *words)


def test_it_reads_beside_a_writer(ends) -> None:
    end = ends[0]
    end.ready(range(3))
    with end.store.transaction():
        end.take(1)
        assert digests(end)[0].n_keys == 3
    assert digests(end)[0].n_keys == 2
    with pytest.raises(StoreError, match="cannot be read"):
        read_lane_digests(end.path.with_name("none.db"), Secret(32), NodeId("end"))
