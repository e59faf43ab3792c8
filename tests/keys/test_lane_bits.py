"""The lanes' share of a link: in the account to the bit, and counted alike at both ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import LinkLost, PeerError
from qkdd.base.secret import Secret
from qkdd.keys.lane_bits import LaneBits
from qkdd.keys.messages import BlockPrepared, LanesRelayed
from tests.keys.pair_of_stores import LINK, Pair

UNIT = 256


def accounts(pair: Pair):
    return [end.store.account(LINK) for end in pair.ends]


def under_way(pair: Pair, n_units: int = 100) -> int:
    """A block with units, live at both ends; return its number."""
    pair.up()
    number = pair.block(9_000, 100, lane_bits=UNIT * n_units)
    pair.pump()
    return number


def tell(pair: Pair) -> None:
    for end in pair.ends:
        message = end.store.lane_bits_relayed(LINK)
        if message is not None:
            end.say(message)
    pair.pump()


def test_units_are_distilled_and_under_way_once_their_block_is_live(pair) -> None:
    pair.up()
    before = accounts(pair)[0]
    pair.block(9_000, 100, lane_bits=25_600)
    assert accounts(pair)[0].distilled == 0
    pair.pump()
    pair.accounts_are_equal()
    after = accounts(pair)[0]
    assert after.distilled == 72_000 + 25_600
    assert after.reserved - before.reserved >= 25_600 + 1_600 - 8 * 16 * 20
    assert after.stock == 72_000 - 1_600


def test_settled_units_are_relayed_or_burned_and_a_burned_one_may_come_back(pair) -> None:
    under_way(pair)
    before = accounts(pair)[0]
    for end in pair.ends:
        end.store.settle_lane_bits(LINK, 60 * UNIT, 40 * UNIT)
        end.store.settle_lane_bits(LINK, 2 * UNIT, -2 * UNIT)
    pair.accounts_are_equal()
    after = accounts(pair)[0]
    assert after.relayed == 62 * UNIT
    assert after.burned - before.burned == 38 * UNIT
    assert before.reserved - after.reserved == 100 * UNIT


@pytest.mark.parametrize(("relayed", "burned"), [(101, 0), (50, 51), (-1, 0), (0, -1), (2, -3)])
def test_more_than_was_cut_cannot_be_settled(pair, relayed, burned) -> None:
    under_way(pair)
    pair.alice.store.settle_lane_bits(LINK, 0, 0)
    before = accounts(pair)[0]
    with pytest.raises(ValueError, match="cut"):
        pair.alice.store.settle_lane_bits(LINK, relayed * UNIT, burned * UNIT)
    assert accounts(pair)[0] == before


def test_unequal_shares_of_lanes_are_the_peers_fault(pair) -> None:
    pair.up()
    store = pair.alice.store
    store.prepare_block(
        LINK, 1, Secret.from_bytes(bytes(9_000)), n_bits=72_000, auth_bytes=100, lane_bits=512
    )
    theirs = BlockPrepared(block_no=1, n_bits=72_000, auth_bytes=100, lane_bits=256)
    with pytest.raises(PeerError, match="512 bits for lanes here"):
        store.receive(LINK, theirs, 0)


def test_what_was_under_way_when_a_process_died_is_burned(pair) -> None:
    under_way(pair)
    pair.alice.store.settle_lane_bits(LINK, 30 * UNIT, 10 * UNIT)
    burned = accounts(pair)[0].burned
    pair.alice.kill()
    account = accounts(pair)[0]
    assert account.relayed == 30 * UNIT
    assert account.burned - burned >= 60 * UNIT


def test_units_that_came_through_after_a_kill_count_as_relayed_at_both_ends(pair) -> None:
    under_way(pair)
    pair.bob.store.settle_lane_bits(LINK, 50 * UNIT, 0)
    pair.alice.store.settle_lane_bits(LINK, 20 * UNIT, 0)
    pair.alice.kill()
    pair.up()
    assert accounts(pair)[0].relayed == 50 * UNIT  # it took the survivor's word
    pair.bob.store.settle_lane_bits(LINK, 5 * UNIT, 45 * UNIT)
    tell(pair)
    pair.accounts_are_equal()
    assert accounts(pair)[0].relayed == 55 * UNIT


def test_a_block_that_goes_live_by_agreement_has_lost_its_units(pair) -> None:
    pair.up()
    pair.block(9_000, 100, lane_bits=UNIT * 10)
    pair.pass_one(pair.alice)  # live at Bob, pending at Alice
    assert [account.distilled for account in accounts(pair)] == [0, 72_000 + 2_560]
    pair.cut()
    pair.up()
    account = accounts(pair)[0]
    assert account.distilled == 72_000 + 2_560
    pair.bob.store.settle_lane_bits(LINK, 0, 2_560)
    pair.alice.store.drop_lane_units(LINK, 1)  # a daemon that hears of the agreement too late
    pair.accounts_are_equal()


@pytest.mark.parametrize("live_before", [True, False])
def test_units_that_were_dropped_are_burned_when_their_block_is_live(pair, live_before) -> None:
    pair.up()
    number = pair.block(9_000, 100, lane_bits=2_560)
    if live_before:
        pair.pump()
    for end in pair.ends:
        end.store.drop_lane_units(LINK, number)
        end.store.drop_lane_units(LINK, number)
        end.store.drop_lane_units(LINK, number + 1)
    pair.pump()
    pair.accounts_are_equal()
    for end in pair.ends:
        with pytest.raises(ValueError, match="cut"):
            end.store.settle_lane_bits(LINK, UNIT, 0)


def test_a_peer_cannot_relay_more_than_was_cut(pair) -> None:
    under_way(pair)
    with pytest.raises(PeerError, match="were cut"):
        pair.alice.store.receive(LINK, LanesRelayed(n_bits=101 * UNIT), 0)
    pair.alice.store.receive(LINK, LanesRelayed(n_bits=100 * UNIT), 0)
    assert accounts(pair)[0].relayed == 100 * UNIT


def test_nothing_is_said_of_lanes_before_the_stores_agreed(pair) -> None:
    under_way(pair)
    pair.cut()
    with pytest.raises(LinkLost):
        pair.alice.store.lane_bits_relayed(LINK)
    with pytest.raises(PeerError, match="before"):
        pair.alice.store.receive(LINK, LanesRelayed(n_bits=0), 0)


def test_the_same_count_is_told_once(pair) -> None:
    under_way(pair)
    assert pair.alice.store.lane_bits_relayed(LINK) is None
    pair.alice.store.settle_lane_bits(LINK, UNIT, 0)
    assert pair.alice.store.lane_bits_relayed(LINK) == LanesRelayed(n_bits=UNIT)
    assert pair.alice.store.lane_bits_relayed(LINK) is None


@given(
    relayed=st.integers(0, 99), burned=st.integers(0, 99), more=st.integers(0, 99), peer=st.data()
)
def test_whatever_the_peer_has_counted_no_bit_is_lost(relayed, burned, more, peer) -> None:
    cut = relayed + burned + more
    theirs = peer.draw(st.integers(0, cut))
    row = {
        "lane_cut": cut,
        "lane_relayed": relayed,
        "lane_burned": burned,
        "lane_peer": theirs,
    }
    bits = LaneBits.of(row)
    assert bits.relayed + bits.burned + bits.under_way == cut
    assert min(bits.relayed, bits.burned, bits.under_way) >= 0
    assert bits.relayed == max(relayed, theirs)
