"""Cascade with a peer or a wire that lies: named, without effect, and never unequal bits."""

from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.base.errors import PeerError
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.messages import (
    BlockHash,
    BlockVerdict,
    Checks,
    Differences,
    Parities,
    Revealed,
    Verdicts,
)
from qkdd.reconcile.settings import ReconcileSettings
from tests.reconcile.cascade_pair import SHORT, Pair, hiding_pair

OF_ALICE = (Parities, Checks, Revealed, BlockHash)
ANY = Parities | Differences | Checks | Verdicts | Revealed | BlockHash | BlockVerdict
N_BITS = 3_000
LIES = {
    Parities: (
        {"block_no": 8},
        {"search": 1},
        {"search": -1},
        {"step": 100_000},
        {"qber_ppm": -1},
        {"qber_ppm": 110_001},
        {"qber_ppm": 21_000},
        {"parities": b""},
        {"parities": bytes(10_000)},
    ),
    Differences: (
        {"block_no": 6},
        {"search": 9},
        {"step": -1},
        {"odd": b""},
        {"odd": bytes(10_000)},
    ),
    Checks: (
        {"search": 5},
        {"check_key": b"short"},
        {"checks": ()},
        {"checks": (1 << 32,)},
        {"checks": (-1,)},
    ),
    Verdicts: (
        {"block_no": 0},
        {"first_frame": 3},
        {"round_no": -1},
        {"again": b""},
        {"again": b"\x02"},
    ),
    Revealed: ({"first_frame": 9}, {"round_no": 9}, {"parts": ()}, {"parts": (b"",)}),
    BlockHash: ({"block_no": 8}, {"hash_key": b""}, {"hash": b""}),
    BlockVerdict: ({"block_no": 8}, {"errors": (10**6, 0, 0)}, {"errors": (-1, 0, 0)}),
}


def test_every_lie_in_every_place_is_refused_and_the_truth_still_ends_well() -> None:
    """At each message of a whole conversation, remainder disclosed and frame lost included."""
    options = ReconcileSettings(method="cascade", max_rounds=0)
    hidden = hiding_pair(16, 20_000, options)
    refused = set()
    for n_bits, qber, wrong_at in ((N_BITS, 0.004, ()), (FRAME_BITS + 100, 0.0, hidden)):
        pair = Pair(n_bits, qber, estimate=0.02, options=options, wrong_at=wrong_at)

        def lie_first(message: msgspec.Struct, pair: Pair = pair) -> list[msgspec.Struct]:
            end = pair.bob if isinstance(message, OF_ALICE) else pair.alice
            before = pair.alice.ledger.as_dict(), pair.bob.ledger.as_dict()
            for lie in LIES[type(message)]:
                if "qber_ppm" in lie and 0 <= lie["qber_ppm"] <= 110_000 and message.step == 0:
                    continue  # of the first word's estimate Bob knows no better
                with pytest.raises(PeerError):
                    end.receive(msgspec.structs.replace(message, **lie))
                refused.add(type(message))
            assert before == (pair.alice.ledger.as_dict(), pair.bob.ledger.as_dict())
            return [message]

        pair.run(harm=lie_first)
        assert pair.alice.result is not None
        assert pair.alice.result.ok
        assert np.array_equal(pair.bits, pair.wrong)
    assert refused == set(LIES)


def test_a_message_that_comes_twice_is_refused_the_second_time_and_does_nothing() -> None:
    pair = Pair(N_BITS, 0.03)

    def twice(message: msgspec.Struct) -> list[msgspec.Struct]:
        seen.append(message)
        return [message]

    seen: list[msgspec.Struct] = []
    pair.run(harm=twice)
    before = pair.alice.ledger.as_dict(), pair.bob.ledger.as_dict()
    for message in seen:
        end = pair.bob if isinstance(message, OF_ALICE) else pair.alice
        with pytest.raises(PeerError):
            end.receive(message)
    assert before == (pair.alice.ledger.as_dict(), pair.bob.ledger.as_dict())
    assert np.array_equal(pair.bits, pair.wrong)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0.001, 0.02, 0.5]),
    kinds=st.sets(st.sampled_from([Parities, Differences, Checks, Verdicts, Revealed])),
)
def test_bits_that_a_wire_turns_over_never_end_in_unequal_bits_that_count(
    seed, share, kinds
) -> None:
    """Every message stays well-formed: only what it says is false."""
    rng = np.random.default_rng(seed)

    def turned(packed: bytes, n_spare: int) -> bytes:
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
        noise = (rng.random(bits.size) < share).astype(np.uint8)
        noise[bits.size - n_spare :] = 0  # what fills up the last byte must stay zero
        return np.packbits(bits ^ noise, bitorder="little").tobytes()

    def harm(message: msgspec.Struct) -> list[msgspec.Struct]:
        if type(message) not in kinds:
            return [message]
        if isinstance(message, Parities):
            return [msgspec.structs.replace(message, parities=turned(message.parities, 7))]
        if isinstance(message, Differences):
            return [msgspec.structs.replace(message, odd=turned(message.odd, 7))]
        if isinstance(message, Checks) and rng.random() < 0.5:
            return [msgspec.structs.replace(message, checks=(1,) * len(message.checks))]
        if isinstance(message, Verdicts) and rng.random() < 0.5:
            return [msgspec.structs.replace(message, again=b"\x01")]
        return [message]

    pair = Pair(N_BITS, 0.03, seed=seed % 97)
    original = pair.wrong.copy()
    with suppress(PeerError):
        pair.run(harm=harm)
    for end in (pair.alice, pair.bob):
        if end.result is not None and end.result.ok:
            assert np.array_equal(pair.bits, pair.wrong)
    # Whatever was asked, no frame's parities were told for more than its bits, search by search.
    ledger, searches = pair.alice.ledger, 1 + ReconcileSettings().max_rounds
    assert ledger.syndrome + ledger.revealed <= searches * 2 ** (N_BITS - 1).bit_length()
    assert original.size == pair.wrong.size


def test_a_bob_who_says_that_everything_differs_gets_no_more_parities_than_bits() -> None:
    pair = Pair(N_BITS, 0.0, options=SHORT)
    to_bob = list(pair.alice.start())
    asked = 0
    while isinstance(to_bob[0], Parities):
        parities = to_bob[0]
        walk = pair.alice._course.walk
        assert walk is not None
        n = walk.n_asked
        asked += n
        odd = np.packbits(np.ones(n, np.uint8), bitorder="little").tobytes()
        differences = Differences(block_no=7, search=parities.search, step=parities.step, odd=odd)
        to_bob = list(pair.alice.receive(differences))
    assert isinstance(to_bob[0], Checks)
    assert asked <= 4096
    assert pair.alice.ledger.syndrome == asked


MESSAGES = st.one_of(
    st.builds(
        Parities,
        block_no=st.just(7),
        search=st.integers(-1, 2),
        step=st.integers(-1, 3),
        qber_ppm=st.integers(-1, 10**6),
        parities=st.binary(max_size=80),
    ),
    st.builds(
        Differences,
        block_no=st.just(7),
        search=st.integers(-1, 2),
        step=st.integers(-1, 3),
        odd=st.binary(max_size=80),
    ),
    st.builds(
        Checks,
        block_no=st.integers(6, 8),
        search=st.integers(-1, 2),
        check_key=st.binary(max_size=60),
        checks=st.lists(st.integers(-1, 2**33), max_size=2).map(tuple),
    ),
    st.builds(
        Verdicts,
        block_no=st.just(7),
        first_frame=st.integers(-1, 2),
        round_no=st.integers(-1, 3),
        again=st.binary(max_size=2),
    ),
    st.builds(
        Revealed,
        block_no=st.just(7),
        first_frame=st.integers(-1, 2),
        round_no=st.integers(-1, 3),
        parts=st.lists(st.binary(max_size=40), max_size=2).map(tuple),
    ),
    st.builds(BlockHash, block_no=st.just(7), hash_key=st.binary(), hash=st.binary()),
    st.builds(
        BlockVerdict,
        block_no=st.just(7),
        equal=st.booleans(),
        errors=st.tuples(*[st.integers(-1, 10)] * 3),
    ),
)


@settings(deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.booleans(), st.sampled_from([200, 600]))
def test_nothing_that_a_peer_says_causes_anything_but_a_peer_error(messages, started, n_bits):
    pair = Pair(n_bits, 0.02)
    if started:
        list(pair.alice.start())
    for message in messages:
        end = pair.bob if isinstance(message, OF_ALICE) else pair.alice
        with suppress(PeerError):
            end.receive(message)  # type: ignore[arg-type]


def test_a_block_given_up_leaves_no_bits_behind() -> None:
    pair = Pair(N_BITS, 0.02)
    (first,) = pair.alice.start()
    pair.bob.receive(first)
    for end in (pair.alice, pair.bob):
        course = end._course
        held = [course.now, *(one.tree for one in course.walk._passes)]
        assert any(array.any() for array in held)
        course.wipe()
        assert not any(array.any() for array in held)
