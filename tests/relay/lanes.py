"""A lane that is connected and has announced its first numbers."""

from qkdd.relay.settings import LaneTimes
from tests.relay.chain import Chain, a_lane

TIMES = LaneTimes(batch_units=16, batch_age_s=30.0, renew_below_pairs=0, confirm_timeout_s=200.0)


def a_chain(n_links: int, times: LaneTimes = TIMES) -> Chain:
    chain = Chain(a_lane(n_links), times)
    chain.connect_all()
    chain.pass_time(0)
    chain.deliver_all()
    return chain
