"""What the relays say, taken together, says nothing of any key (ranks over GF(2)).

Every unit of every link is a unit vector of its own, so that each cipher the code sends *is* the
linear form that it was computed by, and what an eavesdropper knows is the span of what was sent.
"""

import pytest

from qkdd.relay.messages import LaneWave
from qkdd.relay.settings import UNIT_BITS, LaneTimes
from tests.relay.chain import Chain, a_lane

TIMES = LaneTimes(batch_units=4, renew_below_pairs=0)


def unit_vectors(first: int, n: int) -> bytes:
    return b"".join((1 << (first + at)).to_bytes(UNIT_BITS // 8, "little") for at in range(n))


def rank(vectors: list[bytes]) -> int:
    rows = [int.from_bytes(vector, "little") for vector in vectors]
    n_independent = 0
    while rows:
        pivot = rows.pop()
        if pivot:
            n_independent += 1
            low = pivot & -pivot
            rows = [row ^ pivot if row & low else row for row in rows]
    return n_independent


def symbolic_lane(n_links: int, n_units: int, *, faults: bool) -> Chain:
    chain = Chain(a_lane(n_links), TIMES)
    chain.connect_all()
    chain.pass_time(0)
    for link in range(n_links):
        chain.make_block(link, n_units, unit_vectors(n_units * link, n_units))
    for link in reversed(range(n_links)):
        for upstream in (False, True):
            chain.be_born(link, upstream=upstream)
            if faults:
                chain.disconnect(link)
                chain.connect(link)
    if faults:
        chain.crash(n_links // 2)
    chain.come_to_rest()
    return chain


def ciphers_of(chain: Chain) -> list[bytes]:
    return [
        message.ciphers[at : at + 32]
        for message in chain.heard
        if isinstance(message, LaneWave)
        for at in range(0, len(message.ciphers), 32)
    ]


@pytest.mark.parametrize("n_links", [2, 3, 5, 8])
def test_all_ciphers_together_say_nothing_of_any_combination_of_keys(n_links: int) -> None:
    n_units = UNIT_BITS // n_links
    chain = symbolic_lane(n_links, n_units, faults=False)
    keys, said = list(chain.first.ready.values()), ciphers_of(chain)
    assert len(keys) == n_units
    # All X are in the span of all C, and the other way round: C_i = C_{i-1} xor X_i.
    assert rank(said) == (n_links - 1) * n_units
    assert rank(said + keys) == rank(said) + n_units


def test_broken_links_and_a_crash_let_out_nothing_more() -> None:
    chain = symbolic_lane(4, 64, faults=True)
    keys = [unit_vectors(at, 1) for at in range(64)]  # K[e] = L_1[e], void or not
    said = ciphers_of(chain)
    assert said
    assert rank(said + keys) == rank(said) + len(keys)


@pytest.mark.parametrize("link", range(4))
def test_one_unit_caught_live_gives_away_its_key_and_no_other(link: int) -> None:
    chain = symbolic_lane(4, 64, faults=False)
    numbers = sorted(chain.first.ready)
    keys, said = [chain.first.ready[number] for number in numbers], ciphers_of(chain)
    caught = [*said, unit_vectors(64 * link + 7, 1)]
    assert rank([*caught, keys[7]]) == rank(caught)
    others = keys[:7] + keys[8:]
    assert rank(caught + others) == rank(caught) + len(others)
