"""A lane whose wires break and whose nodes die at any step never has two keys for a number."""

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qkdd.relay.settings import LaneTimes
from tests.relay.chain import Chain, a_lane

N_LINKS = 3
LINKS = strategies.integers(0, N_LINKS - 1)
NODES = strategies.integers(0, N_LINKS)
TIMES = LaneTimes(
    announce_ahead=16,
    batch_units=3,
    batch_age_s=10.0,
    confirm_timeout_s=150.0,
    renew_below_pairs=39,
)


class LaneKeysAreEqualOrVoid(RuleBasedStateMachine):
    """Every key that an end calls READY is the other's too, and every unit is accounted for."""

    crashes = True

    def __init__(self) -> None:
        super().__init__()
        self.chain = Chain(a_lane(N_LINKS), TIMES)
        self.chain.connect_all()
        self.chain.pass_time(0)

    @rule(link=LINKS, n_units=strategies.integers(1, 6))
    def light_on_one_link(self, link: int, n_units: int) -> None:
        self.chain.make_block(link, n_units)

    @rule(link=LINKS, n_units=strategies.integers(1, 6))
    def light_on_one_link_live_at_once(self, link: int, n_units: int) -> None:
        self.chain.make_block(link, n_units)
        while self.chain.be_born(link, upstream=True):
            pass
        while self.chain.be_born(link, upstream=False):
            pass

    @rule(link=LINKS, upstream=strategies.booleans())
    def block_goes_live_at_one_end(self, link: int, upstream: bool) -> None:
        self.chain.be_born(link, upstream=upstream)

    @rule(n_units=strategies.integers(1, 6))
    def light_everywhere(self, n_units: int) -> None:
        self.chain.light(n_units)

    @rule(link=LINKS, n=strategies.integers(1, 8), twice=strategies.booleans())
    def messages_go_down(self, link: int, n: int, twice: bool) -> None:
        for _ in range(n):
            self.chain.deliver_down(link, twice=twice)

    @rule(link=LINKS, n=strategies.integers(1, 4), twice=strategies.booleans())
    def messages_go_up(self, link: int, n: int, twice: bool) -> None:
        for _ in range(n):
            self.chain.deliver_up(link, twice=twice)

    @rule()
    def connections_come(self) -> None:
        self.chain.connect_all()

    @rule()
    def all_messages_arrive(self) -> None:
        self.chain.deliver_all()

    @rule(seconds=strategies.sampled_from([1.0, 6.0, 11.0, 40.0, 70.0, 160.0]))
    def time_passes(self, seconds: float) -> None:
        self.chain.pass_time(seconds)

    @rule(link=LINKS)
    def connection_breaks(self, link: int) -> None:
        self.chain.disconnect(link)

    @rule(link=LINKS)
    def connection_comes(self, link: int) -> None:
        self.chain.connect(link)

    @precondition(lambda self: self.crashes)
    @rule(node=NODES, after=strategies.integers(0, 6))
    def node_will_die_between_two_actions(self, node: int, after: int) -> None:
        self.chain.crash_in = (node, after)

    @precondition(lambda self: self.crashes)
    @rule(node=NODES)
    def node_dies(self, node: int) -> None:
        self.chain.crash(node)

    @invariant()
    def the_ends_never_differ(self) -> None:
        self.chain.check()

    def teardown(self) -> None:
        self.chain.come_to_rest()
        self.chain.check_at_rest()


class LaneAccountsAreEqual(LaneKeysAreEqualOrVoid):
    """Without crashes, both ends of every link count every bit alike."""

    crashes = False


BOUNDS = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLaneKeysAreEqualOrVoid = LaneKeysAreEqualOrVoid.TestCase
TestLaneKeysAreEqualOrVoid.settings = BOUNDS
TestLaneAccountsAreEqual = LaneAccountsAreEqual.TestCase
TestLaneAccountsAreEqual.settings = BOUNDS
