"""Messages that are not numbered find their records, whatever the order of news."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import BadReply
from drivers.timetagger.id1000_records import InputRecords, RecordMerger

WIDTH_PS = 1000
PERIOD_PS = 1040

record = st.lists(st.integers(0, WIDTH_PS), max_size=4).map(sorted)
lit_record = st.lists(st.integers(0, WIDTH_PS), min_size=1, max_size=4).map(sorted)


def message(times: list[int]) -> np.ndarray:
    return np.frombuffer(np.array(times, "<u8").tobytes(), np.uint8)


def merger(*inputs: int) -> RecordMerger:
    return RecordMerger(inputs or (1, 2), width_ps=WIDTH_PS, period_ps=PERIOD_PS)


def taken(records: RecordMerger) -> list[tuple[list[int], list[int], int, bool]]:
    blocks = []
    while (block := records.take()) is not None:
        row = (block.times_ps.tolist(), block.channels.tolist(), block.until_ps, block.lost)
        blocks.append(row)
    return blocks


def test_two_inputs_make_one_block_for_each_record():
    records = merger()
    records.inputs[1].add(message([5, 900]))
    records.inputs[2].add(message([7]))
    records.inputs[1].report(1, 2)
    assert records.take() is None
    assert records.lacking == [2]
    records.inputs[2].report(1, 1)
    assert taken(records) == [([5, 7, 900], [1, 2, 1], PERIOD_PS, False)]
    records.inputs[1].add(message([1]))
    records.inputs[2].add(message([0]))
    records.inputs[1].report(2, 3)
    records.inputs[2].report(2, 2)
    assert taken(records) == [([1040, 1041], [2, 1], 2 * PERIOD_PS, False)]


@pytest.mark.parametrize("dark", [[], [message([])]], ids=["no message", "an empty message"])
def test_a_dark_record_counts_whether_a_message_says_so_or_not(dark):
    (one,) = (records := merger(1)).inputs.values()
    for empty in dark:
        one.add(empty)
    one.report(1, 0)
    one.report(1, 0)
    one.add(message([3]))
    one.report(2, 1)
    assert taken(records) == [([], [], 1040, False), ([1043], [1], 2080, False)]


def test_times_that_are_counted_but_not_here_are_waited_for():
    (one,) = (records := merger(1)).inputs.values()
    one.report(1, 2)
    assert one.in_flight == 2
    assert taken(records) == []
    one.add(message([3, 4]))
    one.report(1, 2)
    assert taken(records) == [([3, 4], [1, 1], 1040, False)]


def test_a_message_that_is_not_counted_yet_belongs_to_a_later_record():
    (one,) = (records := merger(1)).inputs.values()
    one.add(message([3]))
    one.add(message([8]))
    one.report(1, 1)
    assert taken(records) == [([3], [1], 1040, False)]
    one.report(2, 2)
    assert taken(records) == [([1048], [1], 2080, False)]


def test_news_heard_in_time_places_messages_that_come_late():
    (one,) = (records := merger(1)).inputs.values()
    one.report(1, 1)
    one.report(2, 1)
    one.report(2, 1)
    one.report(3, 2)
    assert taken(records) == []
    one.add(message([4]))
    one.add(message([5]))
    one.report(3, 2)
    assert taken(records) == [
        ([4], [1], 1040, False),
        ([], [], 2080, False),
        ([2085], [1], 3120, False),
    ]


def test_a_backlog_is_worked_off_from_its_front():
    (one,) = (records := merger(1)).inputs.values()
    for k in range(1, 6):
        one.report(k, 2 * k)
    one.add(message([1, 2]))
    one.add(message([3, 4]))
    one.report(5, 10)
    assert len(taken(records)) == 2
    assert one.in_flight == 6


def test_several_messages_of_one_record_are_joined():
    (one,) = (records := merger(1)).inputs.values()
    for times in ([1, 2], [3], [3, 9]):
        one.add(message(times))
    one.report(1, 5)
    one.report(1, 5)
    assert taken(records) == [([1, 2, 3, 3, 9], [1] * 5, 1040, False)]


def test_a_second_look_clears_up_a_record_whose_end_was_not_counted_yet():
    (one,) = (records := merger(1)).inputs.values()
    one.add(message([1]))
    one.add(message([500]))
    one.report(1, 2)
    one.report(2, 2)
    assert [times for times, *_ in taken(records)] == [[1], [1540]]


def test_a_doubt_costs_the_events_and_never_their_time():
    (one,) = (records := merger(1)).inputs.values()
    one.add(message([1]))
    one.report(2, 1)
    one.report(2, 1)
    assert taken(records) == [([], [], 1040, True), ([], [], 2080, True)]
    one.add(message([7]))
    one.report(3, 2)
    assert taken(records) == [([2087], [1], 3120, False)]


def test_times_out_of_order_within_a_message_are_sorted():
    (one,) = (records := merger(1)).inputs.values()
    one.add(message([9, 2, 5]))
    one.report(1, 3)
    assert taken(records) == [([2, 5, 9], [1] * 3, 1040, False)]


@given(
    rows=st.lists(st.tuples(record, record), max_size=12),
    says_dark=st.booleans(),
    late=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_looked_at_in_time_every_event_finds_its_record(rows, says_dark, late):
    records = merger()
    sent = {1: 0, 2: 0}
    blocks = []
    for index, row in enumerate(rows):
        for number, times in zip((1, 2), row, strict=True):
            one = records.inputs[number]
            sent[number] += len(times)
            if late[index]:
                one.report(index + 1, sent[number])
            if times or says_dark:
                one.add(message(times))
            one.report(index + 1, sent[number])
            one.report(index + 1, sent[number])
        blocks += taken(records)
    tags = [
        sorted((t + k * PERIOD_PS, n) for n, one in zip((1, 2), row, strict=True) for t in one)
        for k, row in enumerate(rows)
    ]
    assert [list(zip(times, inputs, strict=True)) for times, inputs, *_ in blocks] == tags
    assert not any(lost for *_, lost in blocks)
    assert [until for _, _, until, _ in blocks] == [(k + 1) * PERIOD_PS for k in range(len(rows))]


@given(rows=st.lists(lit_record, min_size=1, max_size=15), data=st.data())
def test_a_host_that_falls_behind_loses_nothing_while_the_input_is_lit(rows, data):
    (one,) = (records := merger(1)).inputs.values()
    at = sent = 0
    while at < len(rows):
        n_new = data.draw(st.integers(1, len(rows) - at))
        for times in rows[at : at + n_new]:
            one.add(message(times))
            sent += len(times)
        at += n_new
        one.report(at, sent)
    expected = [[t + k * PERIOD_PS for t in times] for k, times in enumerate(rows)]
    assert [times for times, *_ in taken(records)] == expected


@settings(max_examples=300)
@given(rows=st.lists(record, min_size=1, max_size=15), data=st.data())
def test_a_host_that_falls_behind_in_the_dark_says_so_or_is_right(rows, data):
    (one,) = (records := merger(1)).inputs.values()
    at = sent = 0
    while at < len(rows):
        n_new = data.draw(st.integers(1, len(rows) - at))
        for times in rows[at : at + n_new]:
            one.add(message(times))
            sent += len(times)
        at += n_new
        one.report(at, sent)
        one.report(at, sent)
    blocks = taken(records)
    assert len(blocks) == len(rows)
    for k, (times, _, _, lost) in enumerate(blocks):
        assert lost or times == [t + k * PERIOD_PS for t in rows[k]]


@given(data=st.binary(max_size=80))
def test_no_bytes_break_an_input(data):
    one = InputRecords(1, width_ps=WIDTH_PS)
    whole = len(data) % 8 == 0
    times = np.frombuffer(data[: len(data) // 8 * 8], "<u8")
    if whole and all(int(t) <= WIDTH_PS for t in times):
        one.add(np.frombuffer(data, np.uint8))
        assert one.n_arrived == times.size
    else:
        with pytest.raises(BadReply):
            one.add(np.frombuffer(data, np.uint8))
        assert one.n_arrived == 0


def test_bad_messages_are_named_with_value_and_limit():
    one = InputRecords(3, width_ps=WIDTH_PS)
    with pytest.raises(BadReply, match="input 3: 7 bytes are no whole times"):
        one.add(np.zeros(7, np.uint8))
    with pytest.raises(BadReply, match="input 3: time 1001 ps in a record of 1000 ps"):
        one.add(message([1001]))


def test_a_data_link_that_counts_backwards_is_a_bad_reply():
    one = InputRecords(2, width_ps=WIDTH_PS)
    one.add(message([1]))
    one.report(1, 1)
    with pytest.raises(BadReply, match="0 records with 1 times, after 1 with 1"):
        one.report(0, 1)
    with pytest.raises(BadReply, match="2 records with 0 times, after 1 with 1"):
        one.report(2, 0)


def test_the_last_record_ends_with_its_last_event():
    records = merger()
    records.inputs[1].add(message([5]))
    records.inputs[2].add(message([9]))
    for one in records.inputs.values():
        one.report(1, 1)
    last = records.finish()
    assert (last.times_ps.tolist(), last.until_ps, last.lost) == ([5, 9], 9, False)


def test_after_nothing_nothing_is_left():
    last = merger().finish()
    assert (last.times_ps.size, last.channels.size, last.until_ps, last.lost) == (0, 0, 0, False)


def test_inputs_that_end_with_different_counts_have_lost_events():
    records = merger()
    records.inputs[1].add(message([5]))
    records.inputs[1].report(1, 1)
    last = records.finish()
    assert last.times_ps.tolist() == [5]
    assert last.lost


def test_more_records_than_can_have_gone_by_are_no_reason_to_take_memory_for_them():
    records = InputRecords(1, width_ps=WIDTH_PS)
    with pytest.raises(BadReply, match="at most 100000 at once"):
        records.report(10**18, 0)
    records.report(2, 0)
    records.report(2, 0)
    assert records.n_ended == 2
