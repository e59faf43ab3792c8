"""Rows of sealed secrets: each opens as itself, in its own place, or not at all."""

import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qkdd.base.secret import Secret
from qkdd.keys.lane_seal import (
    RECORD_BYTES,
    Kind,
    Shelf,
    cut_records,
    pack,
    read_secret,
    seal_records,
    unpack,
)
from qkdd.keys.vault import SealBroken, Vault
from tests.keys.lane_end import key_of, keys_of

VAULT = Vault(Secret.from_bytes(b"m" * 32), random.Random("seal").randbytes)
SHELF = Shelf("lane", Kind.READY, 3)
NUMBERS = st.sets(st.integers(0, 2**48), min_size=1, max_size=32).map(sorted)


def a_row(numbers: list[int], shelf: Shelf = SHELF) -> dict[str, Any]:
    with keys_of(numbers) as keys:
        records, wrapped = seal_records(VAULT, shelf.context("node"), numbers, keys.reveal())
    return {
        "n": len(numbers),
        "numbers": pack(numbers),
        "records": records,
        "wrapped_key": wrapped,
    }


def opened(row: dict[str, Any], number: int, shelf: Shelf = SHELF, node: str = "node") -> bytes:
    with read_secret(VAULT, shelf.context(node), row, number) as key:
        return bytes(key.reveal())


@given(numbers=NUMBERS, gone=st.sets(st.integers(0, 31)))
def test_every_secret_opens_alone_also_when_others_are_cut_out(numbers, gone) -> None:
    row = a_row(numbers)
    assert unpack(row) == numbers
    lost = {numbers[at] for at in gone if at < len(numbers)}
    left, records = cut_records(row, lost)
    assert left == [number for number in numbers if number not in lost]
    row |= {"n": len(left), "numbers": pack(left), "records": records}
    for number in left:
        assert opened(row, number) == key_of(number)


@example(numbers=[0, 1], column="numbers", at=7, bit=0)
@given(
    numbers=NUMBERS,
    column=st.sampled_from(["numbers", "records", "wrapped_key"]),
    at=st.integers(0, 2_000),
    bit=st.integers(0, 7),
)
def test_one_bit_of_a_row_that_changes_gives_no_wrong_key(numbers, column, at, bit) -> None:
    row = a_row(numbers)
    changed = bytearray(row[column])
    at %= len(changed)
    changed[at] ^= 1 << bit
    row[column] = bytes(changed)
    found = set()
    for number in unpack(row):  # of which two may be alike now
        try:
            assert opened(row, number) == key_of(number)
            found.add(number)
        except SealBroken:
            pass
    n_lost = len(set(numbers) - found)
    assert n_lost == (len(numbers) if column == "wrapped_key" else 1)


@given(
    columns=st.fixed_dictionaries(
        {
            "n": st.integers(0, 3) | st.text(max_size=3),
            "numbers": st.binary(max_size=33) | st.integers() | st.none(),
            "records": st.binary(max_size=2 * RECORD_BYTES + 1) | st.text(max_size=48),
            "wrapped_key": st.binary(max_size=70) | st.none() | st.integers(),
        }
    )
)
def test_whatever_else_stands_in_a_row_is_broken_and_nothing_worse(columns) -> None:
    try:
        numbers = unpack(columns)
    except SealBroken:
        return
    assert len(columns["records"]) == RECORD_BYTES * columns["n"] == RECORD_BYTES * len(numbers)
    for number in numbers:
        with pytest.raises(SealBroken):
            opened(columns, number)


@pytest.mark.parametrize(
    ("shelf", "node"),
    [
        (Shelf("other", Kind.READY, 3), "node"),
        (Shelf("lane", Kind.HELD, 3), "node"),
        (Shelf("lane", Kind.READY, 2), "node"),
        (SHELF, "other"),
    ],
)
def test_a_row_opens_only_for_its_own_lane_kind_generation_and_node(shelf, node) -> None:
    row = a_row([1, 2])
    with pytest.raises(SealBroken):
        opened(row, 1, shelf, node)
    assert opened(row, 1) == key_of(1)
