"""A lane that is provisioned again goes on with the pads that both ends have."""

import msgspec
import pytest

from qkdd.base.errors import SecurityAlarm
from qkdd.relay.messages import LaneConfirm
from qkdd.relay.settings import LaneTimes
from tests.relay.chain import Chain
from tests.relay.lanes import a_chain

TIMES = LaneTimes(batch_units=4, renew_below_pairs=1_000)


def turn_over(chain: Chain) -> None:
    """Start every node with the next generation, as the stores of the ends do it: keys of the one
    before are void, and the pads of a confirmation that went out are spent."""
    chain.lane = msgspec.structs.replace(chain.lane, generation=chain.lane.generation + 1)
    for disk in (chain.first, chain.last):
        disk.next_number, disk.verdict = 0, None
        disk.ready.clear()
        disk.void.clear()
        disk.came.clear()
        if disk.held is not None:
            disk.n_spent, disk.held = disk.n_spent + 1, None
    for node in range(chain.lane.n_links + 1):
        chain.crash(node)
    chain.connect_all()
    chain.pass_time(0)
    chain.deliver_all()


def held_at_the_last_end(*, judged: bool) -> Chain:
    """A lane with one batch READY, and another of which the last end has heard no verdict."""
    chain = a_chain(2, TIMES)
    chain.light(4)
    chain.deliver_all()
    assert len(chain.last.ready) == 3
    chain.light(4)
    while chain.last.held is None:
        chain.deliver_down(0), chain.deliver_down(1)
    while judged and len(chain.first.ready) == 3:
        chain.deliver_up(1), chain.deliver_up(0)
    return chain


@pytest.mark.parametrize("judged", [False, True])
def test_a_generation_that_ends_with_a_batch_under_way_sets_the_pads_of_no_end_apart(
    judged: bool,
) -> None:
    chain = held_at_the_last_end(judged=judged)
    turn_over(chain)
    for _ in range(50):  # more than the couriered pairs: renewed ones serve
        chain.light(4)
        chain.deliver_all()
    chain.come_to_rest()
    chain.check_at_rest()
    assert len(chain.last.ready) == 150
    assert chain.nodes[0].n_mismatches == 0


def test_a_relay_can_waste_few_pads_by_forging_and_then_stops_the_lane() -> None:
    chain = a_chain(2, TIMES)
    chain.light(4)
    chain.deliver_down(0), chain.deliver_down(0)
    numbers = sorted(number for number in chain.nodes[0]._open if chain.nodes[0].down.has(number))

    def forge(at: int, pair: int) -> None:
        forged = LaneConfirm(
            lane="lane",
            generation=0,
            first=numbers[at],
            count=1,
            pair=pair,
            end_pair=40,
            epoch=chain.epoch,
            held=b"\1",
            tag=bytes(16),
        )
        chain._carry_out(0, chain.nodes[0].receive_from_down(forged))

    forge(0, 17)
    assert chain.first.n_spent == 0
    forge(0, 16)
    assert chain.first.n_spent == 17
    forge(1, 18)
    assert chain.first.n_spent == 17
    forge(1, 17)
    with pytest.raises(SecurityAlarm):
        forge(2, 18)
    assert not chain.first.ready
