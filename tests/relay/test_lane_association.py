"""Tags of the two ends: computed anew from RFC 8439's Poly1305, and good for one place only."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkdd.base.errors import OutOfKey, SecurityAlarm
from qkdd.base.secret import Secret
from qkdd.relay.association import Association, Covered, NotTheirs, Way
from qkdd.relay.settings import Lane
from tests.relay.disk import some_bytes

LANE = Lane(id="lane", route=("a", "relay", "b"), generation=3)
PSK = some_bytes(32 + 5 * 32, "couriered")
KEYS = some_bytes(64, "two keys")
COVERED = Covered(pair=1, first=1_000, count=9, bitmaps=(b"\x01\x01", b""), end_pair=5, epoch=3)


def an_association(lane: Lane = LANE) -> Association:
    return Association.from_psk(lane, Secret.from_bytes(PSK))


def keys() -> Secret:
    return Secret.from_bytes(KEYS)


def length(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


@pytest.mark.parametrize(("way", "at"), [("up", 0), ("down", 1)])
def test_a_tag_is_poly1305_under_the_ways_own_hash_key_and_the_pairs_own_pad(
    way: Way, at: int
) -> None:
    hash_key = PSK[16 * at : 16 * at + 16]
    pad = PSK[32 + 32 * 1 + 16 * at :][:16]
    text = b"qkdd-lane-1" + (4).to_bytes(4, "little") + (3).to_bytes(8, "little")
    text += b"".join(length(name) for name in (b"lane", b"a", b"relay", b"b"))
    text += bytes([at]) + b"".join(n.to_bytes(8, "little") for n in (1, 5, 3, 1_000))
    text += (9).to_bytes(4, "little") + b"\0"
    text += length(b"\x01\x01") + length(b"") + length(KEYS)
    expected = Poly1305.generate_tag(hash_key + pad, text)
    assert an_association().sign(way, COVERED, keys()) == expected


@pytest.mark.parametrize(
    "other",
    [
        replace(COVERED, pair=2),
        replace(COVERED, end_pair=4),
        replace(COVERED, first=1_001),
        replace(COVERED, count=10),
        replace(COVERED, bitmaps=(b"\x01\x01\x00", b"")),
        replace(COVERED, bitmaps=(b"", b"\x01\x01")),
        replace(COVERED, flag=True),
    ],
)
def test_a_tag_is_good_for_nothing_else(other: Covered) -> None:
    tag = an_association().sign("down", COVERED, keys())
    an_association().verify("down", COVERED, keys(), tag)
    with pytest.raises(NotTheirs):
        an_association().verify("down", other, keys(), tag)


def test_a_tag_is_good_for_its_keys_its_way_and_its_generation_only() -> None:
    tag = an_association().sign("up", COVERED, keys())
    with pytest.raises(NotTheirs):
        an_association().verify("down", COVERED, keys(), tag)
    with pytest.raises(NotTheirs):
        an_association().verify("up", COVERED, Secret.from_bytes(KEYS[:-1] + b"?"), tag)
    later = Lane(id="lane", route=LANE.route, generation=4)
    with pytest.raises(NotTheirs):
        an_association(later).verify("up", COVERED, keys(), tag)


def test_the_third_bad_tag_stops_the_association_for_true_tags_too() -> None:
    association = an_association()
    tag = an_association().sign("up", COVERED, keys())
    for _ in range(2):
        with pytest.raises(NotTheirs):
            association.verify("up", COVERED, keys(), bytes(16))
    with pytest.raises(SecurityAlarm):
        association.verify("up", COVERED, keys(), bytes(16))
    with pytest.raises(SecurityAlarm):
        association.verify("up", COVERED, keys(), tag)


def test_a_spent_pair_is_wiped_and_never_signs_again() -> None:
    association = an_association()
    association.spend(1)
    assert bytes(association._pool.reveal()[:64]) == bytes(64)
    assert bytes(association._pool.reveal()[64:]) == PSK[96:]
    assert (association.next_pair, association.n_pairs, association.end) == (2, 3, 5)
    with pytest.raises(OutOfKey, match="pairs 2 to 4"):
        association.sign("up", COVERED, keys())


def test_a_renewed_pair_serves_after_all_couriered_ones() -> None:
    ends = an_association(), an_association()
    for end in ends:
        end.spend(4)
        assert end.n_pairs == 0
        end.renew(memoryview(some_bytes(32, "unit")))
    covered = replace(COVERED, pair=5)
    ends[1].verify("up", covered, keys(), ends[0].sign("up", covered, keys()))
    pad = ends[0]._pads[5]
    ends[0].spend(5)
    assert pad.wiped


def test_a_couriered_key_is_wiped_once_it_is_taken() -> None:
    psk = Secret.from_bytes(PSK)
    Association.from_psk(LANE, psk)
    assert psk.wiped
    with pytest.raises(ValueError, match="no pair"):
        Association.from_psk(LANE, Secret(63))
