"""What crashes, restarts and broken connections cost a lane, and what they must not."""

import pytest

from qkdd.relay.messages import LaneBind, LaneVoid, LaneWave
from qkdd.relay.settings import UNIT_BITS
from tests.relay.chain import Chain, a_lane
from tests.relay.lanes import TIMES, a_chain


def test_a_lost_connection_repeats_the_same_ciphers_only() -> None:
    chain = a_chain(3)
    chain.light(16)
    chain.disconnect(2)
    chain.deliver_all()
    chain.connect(2)
    chain.deliver_all()
    assert len(chain.last.ready) == 16
    ciphers: dict[int, set[bytes]] = {}
    for message in chain.heard:
        if isinstance(message, LaneWave):
            for at, number in enumerate(message.run):
                ciphers.setdefault(number, set()).add(message.ciphers[32 * at : 32 * at + 32])
    assert all(len(of_number) == 2 for of_number in ciphers.values())  # C_1 and C_2


@pytest.mark.parametrize("node", [0, 1, 2, 3])
def test_a_crash_costs_what_was_in_flight_and_nothing_more(node: int) -> None:
    chain = a_chain(3)
    chain.light(16)
    chain.deliver_all()
    for link in (0, 2):
        chain.make_block(link, 16)
        for upstream in (True, False):
            chain.be_born(link, upstream=upstream)
    chain.deliver_all()
    chain.crash(node)
    chain.come_to_rest()
    chain.light(16)
    chain.come_to_rest()
    chain.check_at_rest()
    assert len(chain.first.ready) == 32


def test_a_batch_that_was_held_survives_the_last_ends_crash() -> None:
    chain = a_chain(2)
    chain.disconnect(0)
    chain.connect(0)
    chain.light(16)
    chain.deliver_down(0)
    while chain.last.held is None:
        chain.deliver_down(0)
        chain.deliver_down(1)
    chain.crash(2)
    chain.come_to_rest()
    chain.check_at_rest()
    assert len(chain.last.ready) == 16


def test_a_lost_verdict_is_given_again_byte_for_byte_after_the_first_ends_crash() -> None:
    chain = a_chain(2)
    chain.light(16)
    while not chain.first.ready:
        chain.deliver_down(0), chain.deliver_down(1), chain.deliver_up(1), chain.deliver_up(0)
    verdict = chain.first.verdict
    chain.crash(0)
    assert not chain.last.ready
    chain.come_to_rest()
    chain.check_at_rest()
    assert len(chain.last.ready) == 16
    assert chain.last.verdict == verdict


@pytest.mark.parametrize("node", [1, 2])
def test_a_restarted_relay_binds_other_units_only_to_numbers_that_had_none(node: int) -> None:
    chain = a_chain(3)
    chain.make_block(node, 16)  # bound at its birth, and waiting for the first link's light
    for upstream in (True, False):
        chain.be_born(node, upstream=upstream)
    chain.deliver_all()
    chain.crash(node)
    chain.connect_all()
    chain.deliver_all()
    chain.light(16)  # would be bound to the same numbers: a PeerError at the neighbour
    chain.deliver_all()
    assert len(chain.last.ready) == 16
    chain.come_to_rest()
    chain.check_at_rest()


def test_a_relay_that_voids_a_key_of_both_ends_corrects_its_account() -> None:
    chain = a_chain(3)
    chain.light(16)
    while not chain.first.ready:
        for link in range(3):
            chain.deliver_down(link), chain.deliver_up(link)
    while chain.accounts[1][0].relayed == 0:  # until the verdict has passed the first relay
        chain.deliver_down(0)
    chain.disconnect(1)
    chain.connect(1)
    chain.deliver_all()
    assert chain.accounts[1][1].burned == 16 * UNIT_BITS
    chain.come_to_rest()
    chain.check_at_rest()
    assert chain.accounts[1][1].relayed == 16 * UNIT_BITS


def test_a_void_that_was_lost_with_its_connection_is_told_by_the_next_list() -> None:
    chain = a_chain(3)
    for link in (0, 1):
        chain.make_block(link, 3)
        for upstream in (True, False):
            chain.be_born(link, upstream=upstream)
    chain.deliver_all()
    chain.disconnect(0)
    chain.disconnect(1)
    chain.pass_time(64)  # the second relay's units have no partner
    assert not chain.first.void
    chain.connect(1)
    chain.deliver_all()
    chain.connect(0)
    chain.deliver_all()
    assert len(chain.first.void) == 3
    for upstream, downstream in chain.accounts[:2]:
        assert upstream == downstream
        assert upstream.burned == 3 * UNIT_BITS


def test_numbers_that_nobody_upstream_remembers_are_closed_downstream() -> None:
    chain = a_chain(3)
    chain.crash(0)
    chain.crash(1)
    chain.come_to_rest()
    chain.check_at_rest()


def test_a_neighbours_restart_burns_what_was_shared_with_it_at_once() -> None:
    chain = a_chain(3)
    chain.disconnect(1)
    chain.make_block(1, 16)
    chain.be_born(1, upstream=False)
    chain.crash(1)
    chain.connect_all()
    chain.deliver_all()
    assert chain.accounts[1][1].burned == 16 * UNIT_BITS


def test_the_restart_of_the_neighbour_below_burns_units_without_a_number_at_once() -> None:
    chain = Chain(a_lane(3), TIMES)  # no numbers are announced yet
    chain.connect_all()
    chain.deliver_all()
    chain.make_block(1, 16)
    chain.be_born(1, upstream=True)
    chain.crash(2)
    chain.connect_all()
    chain.deliver_all()
    assert chain.accounts[1][0].burned == 16 * UNIT_BITS


def test_a_unit_bound_to_a_closed_number_is_burned_at_once() -> None:
    chain = a_chain(2)
    chain.disconnect(0)
    chain.make_block(0, 1)
    for upstream in (True, False):
        chain.be_born(0, upstream=upstream)
    bind = next(message for message in chain.heard if isinstance(message, LaneBind))
    void = LaneVoid(lane="lane", generation=0, first=bind.first, count=1)
    chain.nodes[1].receive_from_up(void, chain.now_s)
    chain.nodes[1].receive_from_up(bind, chain.now_s)
    assert chain.accounts[0][1].burned == UNIT_BITS
