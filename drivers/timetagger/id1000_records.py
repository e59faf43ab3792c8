"""Records of an ID1000: which message of which input belongs to which stretch of time. Pure.

The acquisition is a row of records of one length; in each, time counts from 0 again, and when it
has ended, every input sends its times, normally as one message (more beyond 100 million of them).
The messages are not numbered. Whether an input without events sends an empty message or none is
not documented (the vendor's stream client takes an empty one for the end). So messages are never
counted to know the time: the data link says how many records have ended and how many times it has
passed on, and messages are assigned to records only by these two numbers. Where they leave a doubt
(only when the host fell behind and an input was dark meanwhile), the events are dropped as lost.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from drivers.errors import BadReply
from drivers.kernels import id1000
from drivers.kernels.id1000 import TIME_BYTES, Stream
from drivers.tags import TagBlock

MAX_NEW_RECORDS = 100_000
"""At once: more than five hours of the shortest, in which nobody has read."""
_EMPTY: Stream = np.empty(0, np.uint8)


@dataclass
class _News:
    """What the data link said once, or several times in a row."""

    n_records: int
    n_times: int
    n_seen: int = 1


class InputRecords:
    """What one input has sent, waiting to be assigned to its records."""

    def __init__(self, number: int, *, width_ps: int) -> None:
        self.number = number
        self.n_ended = 0
        """Records assigned so far."""
        self.ended: deque[tuple[Stream, bool]] = deque()
        """Times of each, and whether they were lost."""
        self._width_ps = width_ps
        self._waiting: list[Stream] = []
        self._n_assigned = 0
        self.n_arrived = 0
        """Times, assigned or not."""
        self._counted = (0, 0)
        self._news: deque[_News] = deque()

    @property
    def in_flight(self) -> int:
        """Times that the data link has counted and that have not arrived."""
        return max(0, self._counted[1] - self.n_arrived)

    @property
    def in_doubt(self) -> bool:
        """Whether the data link said something that it should say once more."""
        return bool(self._news) and not self.in_flight

    def add(self, message: Stream) -> None:
        """Take one message.

        Raises
        ------
        BadReply
            If it cannot be a list of times inside a record.
        """
        if message.size % TIME_BYTES:
            raise BadReply(f"ID1000 input {self.number}: {message.size} bytes are no whole times")
        largest_ps, n_falls = id1000.check(message)
        if largest_ps > self._width_ps:
            raise BadReply(
                f"ID1000 input {self.number}: time {largest_ps} ps in a record of "
                f"{self._width_ps} ps"
            )
        if n_falls:
            message = np.sort(message.view("<u8")).view(np.uint8)
        if message.size:
            self._waiting.append(message)
            self.n_arrived += message.size // TIME_BYTES

    def report(self, n_records: int, n_times: int) -> None:
        """Hear from the data link how many records have ended and how many times were sent.

        Raises
        ------
        BadReply
            If it counts backwards, or has ended more records than can have gone by.
        """
        if n_records - self.n_ended > MAX_NEW_RECORDS:
            raise BadReply(
                f"ID1000 input {self.number}: {n_records} records have ended, after "
                f"{self.n_ended}: at most {MAX_NEW_RECORDS} at once"
            )
        if n_records < self._counted[0] or n_times < self._counted[1]:
            raise BadReply(
                f"ID1000 input {self.number}: {n_records} records with {n_times} times, after "
                f"{self._counted[0]} with {self._counted[1]}"
            )
        if (n_records, n_times) == self._counted and self._news:
            self._news[-1].n_seen += 1
        elif n_records > self.n_ended:
            self._news.append(_News(n_records, n_times))
        self._counted = (n_records, n_times)
        while self._news and self.n_arrived >= self._news[0].n_times:
            if not self._assign(self._news[0]):
                break
            self._news.popleft()

    def _assign(self, news: _News) -> bool:
        """Assign what had been counted by then; False if the same should be heard once more."""
        n_new = news.n_records - self.n_ended
        n_messages = self._messages_within(news.n_times)
        if n_messages != n_new and news.n_seen == 1:
            # Perhaps one of the two numbers was just not up to date: newer ones may tell.
            return len(self._news) > 1
        messages = self._waiting[:n_messages]
        if n_messages == n_new:
            records = messages
        elif not messages:
            records = [_EMPTY] * n_new
        else:
            groups = _split_where_time_falls(messages)[:n_new]
            n_messages = sum(len(group) for group in groups)
            records = [np.concatenate(group) for group in groups]
        self._n_assigned += sum(one.size for one in self._waiting[:n_messages]) // TIME_BYTES
        del self._waiting[:n_messages]
        self.n_ended += n_new
        if len(records) == n_new:
            self.ended.extend((record, False) for record in records)
        else:
            self.ended.extend([(_EMPTY, True)] * n_new)
        return True

    def _messages_within(self, n_times: int) -> int:
        """How many of the waiting messages are among the first ``n_times`` times."""
        n_counted = self._n_assigned
        for index, message in enumerate(self._waiting):
            n_counted += message.size // TIME_BYTES
            if n_counted > n_times:
                return index
        return len(self._waiting)


def _split_where_time_falls(messages: list[Stream]) -> list[list[Stream]]:
    groups: list[list[Stream]] = []
    last_ps = -1
    for message in messages:
        times = message.view("<u8")
        if not groups or int(times[0]) < last_ps:
            groups.append([])
        groups[-1].append(message)
        last_ps = int(times[-1])
    return groups


class RecordMerger:
    """All inputs together: a block of tags for every record that has ended on each of them."""

    def __init__(self, inputs: tuple[int, ...], *, width_ps: int, period_ps: int) -> None:
        self.inputs = {number: InputRecords(number, width_ps=width_ps) for number in inputs}
        self._period_ps = period_ps
        self._n_taken = 0
        self._until_ps = 0

    @property
    def lacking(self) -> list[int]:
        """Inputs whose next record has not come yet."""
        return [number for number, one in self.inputs.items() if not one.ended]

    @property
    def in_doubt(self) -> bool:
        """Whether the data link should soon be asked again."""
        return any(one.in_doubt for one in self.inputs.values())

    def take(self) -> TagBlock | None:
        """Return the next record if every input has ended it."""
        if self.lacking:
            return None
        parts = [one.ended.popleft() for one in self.inputs.values()]
        start_ps = self._n_taken * self._period_ps
        times_ps, channels = id1000.merge([part for part, _ in parts], [*self.inputs], start_ps)
        self._n_taken += 1
        self._until_ps = start_ps + self._period_ps
        lost = any(lost for _, lost in parts)
        return TagBlock(times_ps, channels, self._until_ps, lost=lost)

    def finish(self) -> TagBlock:
        """Return what is left; the last record was cut short, and ends with its last event."""
        n_left = max(len(one.ended) for one in self.inputs.values())
        uneven = any(len(one.ended) < n_left for one in self.inputs.values())
        for one in self.inputs.values():
            one.ended.extend([(_EMPTY, True)] * (n_left - len(one.ended)))
        blocks: list[TagBlock] = []
        until_ps = self._until_ps
        while (block := self.take()) is not None:
            blocks.append(block)
            before_ps, until_ps = until_ps, block.until_ps
            if not any(one.ended for one in self.inputs.values()):
                until_ps = int(block.times_ps[-1]) if block.times_ps.size else before_ps
        return TagBlock(
            times_ps=np.concatenate([np.empty(0, np.int64), *(one.times_ps for one in blocks)]),
            channels=np.concatenate([np.empty(0, np.uint8), *(one.channels for one in blocks)]),
            until_ps=until_ps,
            lost=uneven or any(block.lost for block in blocks),
        )
