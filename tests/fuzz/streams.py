"""Streams of instruments, cut anywhere: tags, records, glued JSON, lines of counts, raw noise."""

import numpy as np

from drivers.detector.sq_json import Garbled, JsonMessages, Update
from drivers.detector.sq_labels import Labels
from drivers.detector.sq_values import (
    read_counts,
    require_bool,
    require_count,
    require_number,
    require_numbers,
)
from drivers.errors import BadReply
from drivers.timetagger.id1000_records import RecordMerger
from drivers.timetagger.tdc1_stream import Tdc1Decoder
from qkdd.base.errors import EntropyFailed
from qkdd.base.health import HealthTests
from tests.drivers.id1000_desk import PERIOD_PS, RECORD_PS, message
from tests.drivers.websq_desk import STATE, props, tells
from tests.fuzz.mutate import dictionary
from tests.fuzz.target import Target


def tdc1_words() -> Target:
    """Any bytes are words: times never fall, and how the stream was cut makes no difference."""
    ticks = np.cumsum(np.arange(1, 400) * 977) % (1 << 27)
    words = (ticks.astype(np.uint32) << 5 | 1 << np.arange(399, dtype=np.uint32) % 4).tobytes()

    def feed(data: bytes) -> bool:
        decoder = Tdc1Decoder()
        blocks = [decoder.feed(data[: len(data) // 3]), decoder.feed(data[len(data) // 3 :])]
        times = np.concatenate([block.times_ps for block in blocks])
        assert not np.any(times[1:] < times[:-1]), "time falls"
        assert times.size <= 4 * (len(data) // 4)
        return not any(block.lost for block in blocks)

    seeds = (words, words[:400] + words[402:], words[:8])
    return Target("tdc1-words", "instrument", seeds, feed)


def id1000_records() -> Target:
    """Messages of two inputs, and what the data link counts: a letter, a length, then the bytes."""
    one, other = message(10**9, 2 * 10**9).tobytes(), message(3 * 10**9).tobytes()

    def said(kind: bytes, data: bytes) -> bytes:
        return kind + len(data).to_bytes(2, "little") + data

    def counts(n_records: int, n_times: int) -> bytes:
        return n_records.to_bytes(8, "little") + n_times.to_bytes(8, "little")

    seed = b"".join(
        (
            *(
                said(b"a", one),
                said(b"A", counts(1, 2)),
                said(b"b", other),
                said(b"B", counts(1, 1)),
            ),
            *(said(b"a", one), said(b"A", counts(3, 4)), said(b"A", counts(3, 4))),
            *(said(b"B", counts(3, 1)), said(b"B", counts(3, 1))),
        )
    )

    def feed(data: bytes) -> bool:
        merger, at = RecordMerger((1, 3), width_ps=RECORD_PS, period_ps=PERIOD_PS), 0
        until_ps = 0
        try:
            while at + 3 <= len(data):
                kind, size = data[at : at + 1], int.from_bytes(data[at + 1 : at + 3], "little")
                body, at = data[at + 3 : at + 3 + size], at + 3 + size
                records = merger.inputs[1 if kind in b"aA" else 3]
                if kind in b"ab":
                    records.add(np.frombuffer(body, np.uint8))
                else:
                    records.report(
                        int.from_bytes(body[:8], "little"), int.from_bytes(body[8:16], "little")
                    )
                while (block := merger.take()) is not None:
                    assert block.until_ps > until_ps
                    until_ps = block.until_ps
            merger.finish()
        except BadReply:
            return False
        return True

    return Target("id1000-records", "instrument", (seed,), feed, words=(said(b"A", counts(9, 9)),))


def websq_json() -> Target:
    """How it was cut makes no difference; and every value is looked at before it is believed."""
    seeds = (props(), tells("BiasCurrent", [1.5, 2.0]), tells("Error", "bias off") + props())

    def feed(data: bytes) -> bool:
        whole = JsonMessages(limit_bytes=2_000).feed(data)
        pieces = JsonMessages(limit_bytes=2_000)
        cut = [one for at in range(0, len(data), 97) for one in pieces.feed(data[at : at + 97])]
        assert repr(whole) == repr(cut)
        fine = bool(whole) and not any(isinstance(one, Garbled) for one in whole)
        try:
            labels = Labels(name="WebSQ")
            labels.feed(data)
            labels.take_errors()
        except BadReply:
            fine = False
        values = [one.value for one in whole if isinstance(one, Update)]
        for value in values:
            for look in (require_bool, require_count, require_number, _two_numbers):
                try:
                    look(value, "it")
                except BadReply:
                    continue
        return fine

    words = dictionary([*STATE, '"label"', '"value"', "}{", "\x17"])
    return Target("websq-json", "instrument", seeds, feed, words=words, max_bytes=3_000)


def _two_numbers(value: object, label: str) -> tuple[float, ...]:
    return require_numbers(value, 2, label)


def websq_counts() -> Target:
    seeds = (b"1700000000.25, 10, 20\r", b"1700000000.0,0,9007199254740993")

    def feed(data: bytes) -> bool:
        try:
            read_counts(data, n_detectors=2, period_ms=100)
        except BadReply:
            return False
        return True

    return Target("websq-counts", "instrument", seeds, feed, words=(b"1e18", b"-1", b"1e19"))


def noise() -> Target:
    """The health tests of SP 800-90B on whatever a source sends, in two pieces or in one."""
    good = np.random.default_rng(1).bytes(3_000)

    def feed(data: bytes) -> bool:
        failures = []
        for cut in (0, len(data) // 3):
            health = HealthTests("it", 6.0)
            try:
                health.take(data[:cut])
                health.take(data[cut:])
            except EntropyFailed:
                failures.append(True)
            else:
                failures.append(False)
        assert failures[0] == failures[1], "how the noise was cut makes a difference"
        return not failures[0]

    return Target("noise", "instrument", (good, good[:2_000] + bytes(40)), feed, slow=True)


def targets() -> list[Target]:
    return [tdc1_words(), id1000_records(), websq_json(), websq_counts(), noise()]
