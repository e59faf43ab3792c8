"""Messages to bytes and back."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import PeerError
from qkdd.net.codec import MESSAGES, decode_batch, encode_message, join_batch
from qkdd.net.framing import MAX_MESSAGE_BYTES
from qkdd.sift.clicks import CHUNK_CLICKS
from qkdd.sift.gaps import MAX_ESCAPES
from qkdd.sift.messages import Clicks, TestErrors
from qkdd.station.messages import RunReady

ERRORS = TestErrors(block_no=1, errors=(1, 2, 3))


@given(numbers=st.lists(st.integers(0, 2**62), min_size=1, max_size=40))
def test_a_batch_comes_back_in_order(numbers: list[int]) -> None:
    messages = [
        RunReady(run=n) if n % 2 else TestErrors(block_no=n, errors=(0, 0, n % 7)) for n in numbers
    ]
    assert decode_batch(join_batch([encode_message(m) for m in messages])) == messages


def test_a_batch_on_the_wire_is_msgpack() -> None:
    batch = join_batch([encode_message(ERRORS)])
    assert msgspec.msgpack.decode(batch) == [["TestErrors", 1, [1, 2, 3]]]
    assert batch[:1] == b"\x91"
    batch = join_batch([encode_message(ERRORS)] * 2)
    assert msgspec.msgpack.decode(batch) == [["TestErrors", 1, [1, 2, 3]]] * 2
    assert batch[:3] == b"\xdc\x00\x02"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_message_is_tagged_by_its_own_name_and_strict(
    message: type[msgspec.Struct],
) -> None:
    config = message.__struct_config__
    assert (config.tag, config.array_like, config.frozen) == (message.__name__, True, True)
    assert config.forbid_unknown_fields


@given(data=st.binary(max_size=80))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    with suppress(PeerError):
        decode_batch(data)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        "TestErrors",
        [["Unknown", 1]],
        [["TestErrors", -1, [0, 0, 0]]],
        [["TestErrors", 1, [0, 0]]],
        [["TestErrors", 1, [0, 0, 0], 4]],
        [["TestErrors", 1.5, [0, 0, 0]]],
        [["TestErrors", 1, [0, 0, -1]]],
        [["Clicks", 1, 0, 1, b"", bytes(CHUNK_CLICKS // 8 + 1)]],
        ["TestErrors", 1, [0, 0, 0]],
    ],
)
def test_anything_but_a_batch_of_messages_is_the_peers_fault(value: object) -> None:
    with pytest.raises(PeerError):
        decode_batch(msgspec.msgpack.encode(value))


def test_a_hundred_thousand_nested_arrays_are_the_peers_fault() -> None:
    with pytest.raises(PeerError):
        decode_batch(b"\x91" * 100_000)


def test_a_surplus_field_is_the_peers_fault_however_deep_it_is_nested() -> None:
    agreed = msgspec.msgpack.encode(["Agreed", 1, b"{}"])
    surplus = b"\x91" * 10_000 + b"\xc0"
    with pytest.raises(PeerError):
        decode_batch(b"\x91\x94" + agreed[1:] + surplus)


def test_an_array_that_claims_four_billion_entries_is_the_peers_fault() -> None:
    with pytest.raises(PeerError):
        decode_batch(b"\xdd\xff\xff\xff\xff")


def test_a_stranger_is_not_sent() -> None:
    class Stranger(msgspec.Struct):
        pass

    with pytest.raises(ValueError, match="Stranger is not registered"):
        encode_message(Stranger())


def test_the_faintest_lights_chunk_of_clicks_fits_a_batch() -> None:
    clicks = Clicks(
        block_no=2**62,
        chunk=2**32,
        n_clicks=2**32,
        gaps=bytes(2 * (CHUNK_CLICKS + MAX_ESCAPES)),
        bases=bytes(CHUNK_CLICKS // 8),
    )
    data = encode_message(clicks)
    assert len(data) <= MAX_MESSAGE_BYTES
    assert decode_batch(join_batch([data])) == [clicks]


def test_a_message_over_a_mebibyte_is_the_callers_bug() -> None:
    huge = Clicks(block_no=1, chunk=0, n_clicks=0, gaps=bytes(MAX_MESSAGE_BYTES), bases=b"")
    with pytest.raises(ValueError, match="limit 1048576"):
        encode_message(huge)


def test_an_empty_batch_is_not_sent() -> None:
    with pytest.raises(ValueError, match="not 0"):
        join_batch([])
