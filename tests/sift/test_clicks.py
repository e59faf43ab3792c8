"""Bob's store of clicks and the form of their slots."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.sift.clicks import CHUNK_CLICKS, ClickStore
from qkdd.sift.gaps import ESCAPE, decode_gaps, encode_gaps

RISING = st.lists(
    st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1)), max_size=40, unique=True
).map(sorted)


@given(slots=RISING)
def test_slots_come_back(slots: list[int]) -> None:
    words = encode_gaps(np.array(slots, np.uint32), -1)
    assert decode_gaps(words, -1, len(slots))[0].tolist() == slots


@given(slots=RISING, cut=st.integers(0, 40))
def test_slots_come_back_in_two_pieces(slots: list[int], cut: int) -> None:
    first, rest = slots[:cut], slots[cut:]
    last = first[-1] if first else -1
    words = encode_gaps(np.array(rest, np.uint32), last)
    assert decode_gaps(words, last, len(rest))[0].tolist() == rest


@pytest.mark.parametrize("gap", [1, ESCAPE - 1, ESCAPE, ESCAPE + 1, 2 * ESCAPE, 2 * ESCAPE - 1])
def test_gaps_at_the_edges_of_a_word_come_back(gap: int) -> None:
    words = encode_gaps(np.array([gap - 1, 2 * gap - 1], np.uint32), -1)
    assert decode_gaps(words, -1, 2)[0].tolist() == [gap - 1, 2 * gap - 1]


@given(words=st.lists(st.sampled_from([0, 1, 7, 65_534, 65_535]), max_size=8), n=st.integers(0, 8))
def test_words_that_decode_are_the_only_form_of_their_slots(words: list[int], n: int) -> None:
    array = np.array(words, "<u2")
    try:
        slots, _ = decode_gaps(array, -1, n)
    except ValueError:
        return
    assert encode_gaps(slots.astype(np.uint32), -1).tolist() == words


@given(
    slots=RISING.filter(bool),
    detectors=st.lists(st.integers(0, 3), min_size=40, max_size=40),
    frame=st.integers(1, 50),
    chunk=st.integers(1, 20),
)
def test_clicks_come_back_however_they_were_cut(
    slots: list[int], detectors: list[int], frame: int, chunk: int
) -> None:
    store = ClickStore(chunk)
    for start in range(0, len(slots), frame):
        part = slots[start : start + frame]
        store.append(
            np.array(part, np.uint32), np.array(detectors[start : start + len(part)], np.uint8)
        )
    store.close()
    got: list[int] = []
    found: list[int] = []
    for piece in store:
        last = got[-1] if got else -1
        got += decode_gaps(piece.gaps, last, piece.n_clicks)[0].tolist()
        bases = np.unpackbits(piece.bases, count=piece.n_clicks, bitorder="little")
        bits = np.unpackbits(piece.bits, count=piece.n_clicks, bitorder="little")
        found += (bases * 2 + bits).tolist()
    assert got == slots
    assert found == detectors[: len(slots)]
    assert store.n_clicks == len(slots)


@given(slots=RISING.filter(bool), starts=st.lists(st.integers(0, 2**34), max_size=5, unique=True))
def test_frames_that_start_anywhere_in_the_block_come_back(
    slots: list[int], starts: list[int]
) -> None:
    store, expected, free = ClickStore(7), list[int](), 0
    for start in sorted(starts):
        if start < free:
            continue
        store.append(np.array(slots, np.uint32), np.zeros(len(slots), np.uint8), start)
        expected += [start + slot for slot in slots]
        free = expected[-1] + 1
    store.close()
    got: list[int] = []
    for piece in store:
        got += decode_gaps(piece.gaps, got[-1] if got else -1, piece.n_clicks)[0].tolist()
    assert got == expected


def test_a_click_takes_less_than_three_bytes() -> None:
    dice = np.random.default_rng(1)
    slots = np.cumsum(dice.integers(1, 210, 2 * CHUNK_CLICKS)).astype(np.uint32)
    store = ClickStore()
    store.append(slots, np.zeros(slots.size, np.uint8))
    store.close()
    kept_bytes = sum(c.gaps.nbytes + c.bases.nbytes + c.bits.nbytes for c in store)
    assert kept_bytes == 2.25 * slots.size


@pytest.mark.parametrize(
    ("slots", "detectors"),
    [
        ([5, 5], [0, 0]),
        ([6, 5], [0, 0]),
        ([4], [0]),
        ([7], [4]),
        ([7, 8], [1]),
    ],
)
def test_clicks_out_of_order_or_of_no_detector_are_refused_whole(
    slots: list[int], detectors: list[int]
) -> None:
    store = ClickStore()
    store.append(np.array([4], np.uint32), np.array([3], np.uint8))
    with pytest.raises(ValueError, match=r"slots|detector"):
        store.append(np.array(slots, np.uint32), np.array(detectors, np.uint8))
    assert store.n_clicks == 1
    store.append(np.array([5], np.uint32), np.array([3], np.uint8))


def test_a_block_that_has_ended_takes_no_click() -> None:
    store = ClickStore()
    store.close()
    assert store.n_chunks == 1
    with pytest.raises(RuntimeError, match="ended"):
        store.append(np.array([4], np.uint32), np.array([3], np.uint8))


def test_a_wiped_store_holds_zeros() -> None:
    store = ClickStore(4)
    store.append(np.arange(6, dtype=np.uint32), np.full(6, 3, np.uint8))
    chunk, open_clicks = store.chunk(0), store._detectors
    store.wipe()
    assert not (chunk.bits.any())
    assert not (chunk.bases.any())
    assert not (chunk.gaps.any())
    assert not (open_clicks.any())
