"""The JSON stream of a WebSQ: glued, cut anywhere, or no JSON at all."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.detector.sq_json import Garbled, JsonMessages, Update

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
UPDATES = st.builds(Update, st.text(max_size=12), VALUES, st.booleans())
PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"}{",
        b"\x17",
        b'"label"',
        b":",
        b'"value"',
        b",",
        b"[",
        b"]",
        b"1",
        b"NaN",
        b" ",
        b'{"label":"A","value":1}',
        b'{"label":"B","value":{"value":[1],"unit":"uA"}}',
        b"\xff",
        b'"',
    ]
)
BYTES = st.binary(max_size=40) | st.lists(PIECES, max_size=12).map(b"".join)
CUTS = st.lists(st.integers(0, 80), max_size=8)


def wire(update: Update) -> bytes:
    value = {"value": update.value, "unit": "uA"} if update.full else update.value
    return json.dumps({"label": update.label, "value": value}).encode()


def in_chunks(data: bytes, cuts: list[int], *, limit_bytes: int = 1000) -> list[Update | Garbled]:
    messages = JsonMessages(limit_bytes=limit_bytes)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = []
    for start, stop in itertools.pairwise(edges):
        found += messages.feed(data[start:stop])
    return found


def same(value: object) -> str:
    """NaN is not equal to itself, but its text is."""
    return repr(value)


@given(st.lists(st.lists(UPDATES, max_size=3), max_size=3), CUTS)
def test_every_update_comes_out_whatever_is_glued_and_wherever_it_is_cut(messages, cuts):
    plain = [
        one if one.full or not (isinstance(one.value, dict) and "value" in one.value) else None
        for message in messages
        for one in message
    ]
    data = b"".join(b"".join(map(wire, message)) + b"\x17" for message in messages)
    found = in_chunks(data, cuts, limit_bytes=1 << 20)
    assert len(found) == len(plain)
    for one, other in zip(found, plain, strict=True):
        assert other is None or same(one) == same(other)


@given(BYTES, CUTS, st.integers(1, 60))
def test_where_the_stream_is_cut_does_not_matter(data, cuts, limit_bytes):
    whole = in_chunks(data, [], limit_bytes=limit_bytes)
    assert same(in_chunks(data, cuts, limit_bytes=limit_bytes)) == same(whole)


@given(BYTES, UPDATES)
def test_after_any_bytes_the_next_message_is_read(data, update):
    found = JsonMessages().feed(data + b"\x17" + wire(update) + b"\x17")
    assert same(found[-1]) in (same(update), same(Update(update.label, found[-1].value, True)))


def test_half_a_message_says_nothing_yet():
    messages = JsonMessages()
    assert messages.feed(b'{"label":"A","val') == []
    assert messages.feed(b'ue":1}{"label":"B",') == []
    assert messages.feed(b'"value":2}\x17{"la') == [Update("A", 1, False), Update("B", 2, False)]


def test_properties_are_told_from_changes():
    data = b'{"label":"A","value":{"value":3,"unit":"uA"}} {"label":"A","value":{"T":[1]}}\x17'
    assert JsonMessages().feed(data) == [Update("A", 3, True), Update("A", {"T": [1]}, False)]


@pytest.mark.parametrize("data", [b"\x17", b" \r\n\x17", b'{"status":"ok"}\x17', b"{}\x17"])
def test_what_names_no_label_tells_nothing(data):
    assert JsonMessages().feed(data) == []


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\x17",
        b"[1]\x17",
        b"\xff\xfe\x17",
        b'{"label":\x17',
        b'{"label":"A","value":1}}\x17',
        b"[" * 100_000 + b"\x17",
        b"1" * 5000 + b"\x17",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_json_is_garbled_and_the_next_message_is_read(data):
    found = JsonMessages().feed(data + b'{"label":"B","value":2}\x17')
    assert isinstance(found[-2], Garbled)
    assert found[-1] == Update("B", 2, False)


def test_a_message_that_never_ends_takes_no_memory():
    messages = JsonMessages(limit_bytes=1000)
    for _ in range(100):
        assert messages.feed(b"x" * 1000) == []
    assert len(messages._message) == 1000
    assert messages.feed(b'\x17{"label":"A","value":1}\x17') == [
        Garbled(b"x" * 32),
        Update("A", 1, False),
    ]


def test_a_message_over_the_limit_is_not_believed_in_part():
    one = b'{"label":"A","value":1}'
    assert JsonMessages(limit_bytes=len(one)).feed(one + b"\x17") == [Update("A", 1, False)]
    assert JsonMessages(limit_bytes=len(one)).feed(one + one + b"\x17") == [Garbled(one)]
