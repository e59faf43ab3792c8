"""A lane from end to end: equal keys, shredded units, exact accounts, and what goes wrong."""

from itertools import pairwise

import pytest

from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.relay.messages import LaneBind, LaneConfirm, LaneVoid, LaneWave
from qkdd.relay.middle import LaneRelay
from qkdd.relay.settings import UNIT_BITS, LaneTimes
from tests.relay.lanes import TIMES, a_chain


@pytest.mark.parametrize("n_links", [1, 2, 3, 33])
def test_every_unit_becomes_one_key_that_both_ends_have(n_links: int) -> None:
    chain = a_chain(n_links)
    chain.light(20)
    chain.deliver_all()
    assert len(chain.first.ready) == 20
    assert chain.first.ready == chain.last.ready
    chain.come_to_rest()
    chain.check_at_rest()
    for account, _ in chain.accounts:
        assert account.cut == account.relayed == 20 * UNIT_BITS


def test_the_key_of_a_number_is_the_first_links_unit() -> None:
    chain = a_chain(3)
    chain.make_block(0, 16)
    units = chain.births[0].upstream[0][1]
    for link in (1, 2):
        chain.make_block(link, 16)
    chain.come_to_rest()
    assert b"".join(chain.first.ready[e] for e in sorted(chain.first.ready)) == units


def test_the_first_keys_are_meant_for_a_time_at_which_they_are_ready() -> None:
    chain = a_chain(2)
    chain.light(16)
    chain.deliver_all()
    begin = chain.epoch + TIMES.jump_ahead_epochs
    assert sorted(chain.first.ready) == list(range(begin, begin + 16))


def test_epochs_jump_ahead_only_after_the_stock_has_run_out() -> None:
    chain = a_chain(2)
    chain.light(32)
    chain.deliver_all()
    last = max(chain.first.ready)
    chain.pass_time(20)
    chain.light(16)
    chain.deliver_all()
    assert set(range(last + 1, last + 17)) <= set(chain.first.ready)
    chain.pass_time(3600)
    chain.light(16)
    chain.deliver_all()
    after = {epoch for epoch in chain.first.ready if epoch > last + 16}
    assert min(after) == chain.epoch + TIMES.jump_ahead_epochs
    assert len(after) == 16


@pytest.mark.parametrize("dark", [0, 1, 2])
def test_a_dark_link_costs_numbers_and_leaves_no_gap_in_the_epochs(dark: int) -> None:
    times = LaneTimes(batch_units=16, announce_ahead=24, renew_below_pairs=0)
    chain = a_chain(3, times)
    chain.light(64)
    chain.deliver_all()
    for _ in range(8):  # two minutes without one link
        for link in range(3):
            if link != dark:
                chain.make_block(link, 16)
                while chain.be_born(link, upstream=True) or chain.be_born(link, upstream=False):
                    pass
        chain.deliver_all()
        chain.pass_time(15)
        chain.deliver_all()
    for _ in range(8):
        chain.light(16)
        chain.deliver_all()
        chain.pass_time(15)
        chain.deliver_all()
    chain.come_to_rest()
    chain.check_at_rest()
    assert len(chain.first.void) >= 16
    ready = sorted(chain.first.ready)
    jumps = [later for earlier, later in pairwise(ready) if later != earlier + 1]
    assert len(ready) >= 64 + 32
    assert len(jumps) <= 1, "the stock ran out once at most"


@pytest.mark.parametrize("renew_below", [0, 1_000])
def test_pads_that_are_renewed_leave_no_gap_in_the_epochs(renew_below: int) -> None:
    times = LaneTimes(batch_units=16, renew_below_pairs=renew_below, confirm_timeout_s=200.0)
    chain = a_chain(2, times)
    for _ in range(3):
        chain.light(16)
        chain.deliver_all()
    ready = sorted(chain.first.ready)
    assert len(ready) == 48 - 3 * bool(renew_below)
    assert ready == list(range(ready[0], ready[0] + len(ready)))
    assert chain.first.ready == chain.last.ready


def test_a_last_end_set_back_to_an_old_image_gives_no_epoch_a_second_key() -> None:
    chain = a_chain(2)
    chain.light(64)
    chain.deliver_all()
    before = dict(chain.first.ready)
    chain.last.ready.clear()
    chain.crash(2)
    chain.connect_all()
    chain.light(16)
    chain.deliver_all()
    assert chain.first.ready == before
    assert not chain.last.ready


def test_few_keys_wait_for_a_batch_until_they_are_old() -> None:
    chain = a_chain(2)
    chain.light(5)
    chain.deliver_all()
    chain.pass_time(29)
    chain.deliver_all()
    assert not chain.first.ready
    chain.pass_time(1)
    chain.deliver_all()
    assert len(chain.first.ready) == len(chain.last.ready) == 5


def test_a_unit_without_partner_is_burned_after_its_time_and_void_everywhere() -> None:
    chain = a_chain(4)
    chain.make_block(1, 3)  # one link's light only
    for upstream in (True, False):
        chain.be_born(1, upstream=upstream)
    chain.deliver_all()
    chain.pass_time(63)
    assert chain.accounts[1][0].burned == 0
    chain.pass_time(1)
    chain.deliver_all()
    assert [account.burned for account in chain.accounts[1]] == [3 * UNIT_BITS] * 2
    assert len(chain.first.void) == len(chain.last.void) == 3
    chain.light(16)
    chain.deliver_all()
    assert len(chain.last.ready) == 16
    assert not chain.last.ready.keys() & chain.first.void


def test_a_relay_shreds_before_the_wave_from_upstream_is_there() -> None:
    chain = a_chain(4)
    for link in (2, 3):
        chain.make_block(link, 16)
        for upstream in (True, False):
            chain.be_born(link, upstream=upstream)
    chain.deliver_all()
    relay = chain.nodes[3]
    assert isinstance(relay, LaneRelay)
    blocks = [block for pool, block in chain.blocks if pool in (relay.up, relay.down)]
    assert len(blocks) == 2
    assert all(block._units.wiped for block in blocks)
    assert not any(isinstance(message, LaneWave) for message in chain.heard)


def test_a_flipped_wave_makes_no_key_and_the_third_one_stops_the_lane() -> None:
    chain = a_chain(2)

    def flip() -> None:
        chain.light(16)
        queue = chain.wires[1].down
        while chain.deliver_down(0):
            pass
        for at, data in enumerate(queue):
            if data.find(b"LaneWave") > 0:
                queue[at] = data[:-1] + bytes([data[-1] ^ 1])
        chain.deliver_all()

    for _ in range(2):
        flip()
        assert not chain.first.ready
        assert not chain.last.ready
    with pytest.raises(SecurityAlarm):
        flip()
    assert not chain.first.ready


def test_a_relay_cannot_play_the_last_end() -> None:
    chain = a_chain(2)
    chain.light(16)
    chain.deliver_down(0)
    chain.deliver_down(0)
    bound = next(message for message in chain.heard if isinstance(message, LaneBind))
    forged = LaneConfirm(
        lane="lane",
        generation=0,
        first=bound.first,
        count=16,
        pair=0,
        end_pair=40,
        epoch=chain.epoch,
        held=b"\xff\xff",
        tag=bytes(16),
    )
    chain._carry_out(0, chain.nodes[0].receive_from_down(forged))
    assert len(chain.first.void) == 16
    assert chain.nodes[0].n_mismatches == 1
    chain.come_to_rest()
    chain.check_at_rest()
    assert not chain.first.ready
    chain.light(16)
    chain.deliver_all()
    assert len(chain.last.ready) == 16


def test_a_key_bound_long_after_its_announcement_has_its_full_time() -> None:
    chain = a_chain(2, LaneTimes(confirm_timeout_s=100.0, renew_below_pairs=0))
    chain.pass_time(5_000)
    chain.deliver_all()
    chain.light(16)
    chain.pass_time(1)
    chain.deliver_all()
    assert len(chain.last.ready) == 16


def test_keys_at_the_ends_outlive_the_time_limit_of_units() -> None:
    chain = a_chain(2)
    chain.light(16)
    while chain.last.held is None:
        chain.deliver_down(0), chain.deliver_down(1)
    chain.disconnect(0)
    for _ in range(10):
        chain.pass_time(15)
        chain.deliver_all()
    chain.connect(0)
    chain.pass_time(5)
    chain.deliver_all()
    assert len(chain.first.ready) == len(chain.last.ready) == 16


def test_a_key_that_nobody_confirms_is_given_up() -> None:
    chain = a_chain(2)
    chain.light(16)
    chain.disconnect(0)
    chain.pass_time(199)
    assert chain.accounts[0][0].burned == 0
    chain.pass_time(1)
    assert chain.accounts[0][0].burned == 16 * UNIT_BITS


def test_a_batch_never_spans_more_than_a_bitmap_holds() -> None:
    times = LaneTimes(batch_age_s=1e6, confirm_timeout_s=1e6, renew_below_pairs=0)
    chain = a_chain(2, times)
    chain.light(5)
    chain.make_block(0, 4_200)
    while chain.be_born(0, upstream=True) or chain.be_born(0, upstream=False):
        pass
    chain.deliver_all()
    chain.pass_time(65)
    chain.deliver_all()
    assert len(chain.first.void) >= 4_200
    chain.light(16)
    chain.deliver_all()
    assert len(chain.last.ready) == 21
    assert max(chain.last.came) - min(chain.last.came) > 4_096
    assert chain.last.n_spent == 2


def test_confirmations_that_nobody_can_verify_stop_the_lane_at_last() -> None:
    chain = a_chain(2)
    first = chain.nodes[0]
    unbound = 5
    for pair in range(17):
        forged = LaneConfirm(
            lane="lane",
            generation=0,
            first=unbound,
            count=1,
            pair=pair,
            end_pair=40,
            epoch=chain.epoch,
            held=b"\1",
            tag=bytes(16),
        )
        if pair < 16:
            chain._carry_out(0, first.receive_from_down(forged))
    with pytest.raises(SecurityAlarm, match="limit 16"):
        first.receive_from_down(forged)


def test_a_confirmation_without_pads_left_is_not_answered() -> None:
    chain = a_chain(2)
    for _ in range(40):
        chain.light(16)
        chain.deliver_all()
    chain.light(16)
    forged = LaneConfirm(
        lane="lane",
        generation=0,
        first=chain.nodes[0].next_number - 100,
        count=1,
        pair=40,
        end_pair=41,
        epoch=chain.epoch,
        held=b"\1",
        tag=bytes(16),
    )
    assert chain.nodes[0].receive_from_down(forged) == ()


def test_renewal_never_takes_the_only_key_of_a_batch() -> None:
    chain = a_chain(2, LaneTimes(batch_units=1, renew_below_pairs=1_000))
    chain.light(1)
    chain.deliver_all()
    assert len(chain.last.ready) == 1


def test_renewal_keeps_the_association_alive_for_ever_and_equal() -> None:
    chain = a_chain(2, LaneTimes(renew_below_pairs=38, confirm_timeout_s=200.0))
    for _ in range(60):  # 40 pairs came with the courier
        chain.light(16)
        chain.deliver_all()
        chain.pass_time(1)
    chain.come_to_rest()
    chain.check_at_rest()
    assert chain.first.n_spent == 60
    assert len(chain.first.pairs) - 60 == 38
    assert len(chain.first.ready) == 60 * 16 - 58


def test_without_pads_nothing_becomes_a_key() -> None:
    chain = a_chain(2)
    for _ in range(41):
        chain.light(16)
        chain.deliver_all()
    assert len(chain.first.ready) == 40 * 16


def test_relays_void_takes_nothing_that_the_last_end_holds() -> None:
    chain = a_chain(2)
    chain.light(16)
    while chain.last.held is None:
        chain.deliver_down(0), chain.deliver_down(1)
    held = chain.last.held[0]
    void = LaneVoid(lane="lane", generation=0, first=held.first, count=held.count)
    assert chain.nodes[2].receive_from_up(void, chain.now_s, chain.epoch) == ()
    chain.deliver_all()
    assert len(chain.last.ready) == 16


def test_another_generation_is_another_lane() -> None:
    chain = a_chain(2)
    old = LaneVoid(lane="lane", generation=7, first=0, count=4_000)
    assert chain.nodes[1].receive_from_up(old, 0.0) == ()
    assert chain.nodes[2].receive_from_up(old, 0.0, chain.epoch) == ()
    with pytest.raises(PeerError, match="lane other"):
        chain.nodes[1].receive_from_up(
            LaneVoid(lane="other", generation=0, first=1, count=1), chain.now_s
        )


def test_a_neighbour_that_binds_a_number_twice_is_refused_and_changes_nothing() -> None:
    chain = a_chain(2)
    chain.light(16)
    bind = next(message for message in chain.heard if isinstance(message, LaneBind))
    chain.deliver_all()
    other = LaneBind(lane="lane", generation=0, first=bind.first + 20, count=1, block_no=9, unit=0)
    relay = chain.nodes[1]
    relay.receive_from_up(other, chain.now_s)
    again = LaneBind(lane="lane", generation=0, first=bind.first + 19, count=2, block_no=9, unit=0)
    with pytest.raises(PeerError, match="is number"):
        relay.receive_from_up(again, chain.now_s)
    assert relay.up.ref(bind.first + 19) is None
