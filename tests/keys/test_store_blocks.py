"""Blocks become key at both ends or at none."""

import pytest

from qkdd.amplify.length import MIN_BITS
from qkdd.base.errors import PeerError
from qkdd.base.secret import Secret
from qkdd.keys.messages import BlockBurned, BlockLive, BlockPrepared, StoreAgreed
from tests.keys.pair_of_stores import LINK

N_BYTES = 9_001


def prepare(pair, end, number, n_bytes=N_BYTES, auth_bytes=500):
    key = Secret.from_bytes(bytes([number]) * n_bytes)
    return end.store.prepare_block(
        LINK, number, key, n_bits=8 * n_bytes, auth_bytes=auth_bytes, facts={"qber": 0.01}
    )


def distilled(pair):
    return [end.store.account(LINK).distilled for end in pair.ends]


def test_a_block_is_key_only_when_both_ends_have_prepared_it(pair) -> None:
    pair.up()
    before = pair.alice.store.auth_left(LINK)
    pair.alice.say(*prepare(pair, pair.alice, 1))
    pair.pump()
    assert distilled(pair) == [0, 0]
    pair.bob.say(*prepare(pair, pair.bob, 1))
    pair.pump()
    assert distilled(pair) == [8 * N_BYTES] * 2
    pair.accounts_are_equal()
    after = pair.alice.store.auth_left(LINK)
    n_tags_each_way = 2
    assert after.tx == before.tx + 500 - 16 * n_tags_each_way
    assert pair.alice.store.account(LINK).burned == 8  # the odd byte


def test_pads_of_a_block_are_sent_with_only_after_the_peer_said_that_it_is_live(pair) -> None:
    pair.up()
    before = pair.alice.store.auth_left(LINK)
    (theirs,) = prepare(pair, pair.bob, 1)
    prepare(pair, pair.alice, 1)
    assert pair.alice.store.receive(LINK, theirs, 0) == (BlockLive(block_no=1),)
    now = pair.alice.store.auth_left(LINK)
    assert (now.tx, now.rx) == (before.tx, before.rx + 500)
    pair.alice.store.receive(LINK, BlockLive(block_no=1), 0)
    assert pair.alice.store.auth_left(LINK).tx == before.tx + 500


def test_a_number_that_one_end_skipped_is_burned_at_the_other(pair) -> None:
    pair.up()
    pair.alice.say(*prepare(pair, pair.alice, 1))
    for end in pair.ends:
        end.say(*prepare(pair, end, 2))
    pair.pump()
    assert distilled(pair) == [8 * N_BYTES] * 2
    assert [r["block_no"] for r in pair.alice.store._db.all("SELECT * FROM segments")] == [0, 2]


@pytest.mark.parametrize("first", [0, 1])
def test_a_block_of_unequal_lengths_is_burned_and_is_the_peers_fault(pair, first) -> None:
    pair.up()
    (mine,) = prepare(pair, pair.ends[first], 1)
    (theirs,) = prepare(pair, pair.ends[1 - first], 1, N_BYTES - 8)
    for end, message in ((pair.ends[first], theirs), (pair.ends[1 - first], mine)):
        with pytest.raises(PeerError, match="burned"):
            end.store.receive(LINK, message, 0)
    pair.up()
    pair.accounts_are_equal()
    assert distilled(pair) == [0, 0]


def test_block_numbers_rise_for_ever_even_over_a_crash(pair) -> None:
    pair.up()
    first = pair.alice.store.next_block_no(LINK)
    pair.alice.kill()
    assert pair.alice.store.next_block_no(LINK) == first + 1
    pair.up()
    prepare(pair, pair.bob, 7)
    with pytest.raises(ValueError, match="after block 7"):
        prepare(pair, pair.bob, 7)
    pair.up()
    assert pair.alice.store.next_block_no(LINK) == 8


@pytest.mark.parametrize(
    "message",
    [
        BlockLive(block_no=1),
        BlockPrepared(block_no=1, n_bits=2**40, auth_bytes=1),
        StoreAgreed(
            pre_shared=0, distilled=0, delivered=0, relayed=0, burned=0, stock=0, auth_end=0
        ),
    ],
)
def test_an_illegal_word_about_a_block_is_the_peers_fault(pair, message) -> None:
    pair.up()
    with pytest.raises(PeerError):
        pair.bob.store.receive(LINK, message, 0)


def test_more_blocks_ahead_of_ours_than_any_pipeline_has_are_refused(pair) -> None:
    pair.up()
    early = [BlockPrepared(block_no=n, n_bits=800, auth_bytes=0) for n in range(1, 18)]
    for message in early[:16]:
        pair.bob.store.receive(LINK, message, 0)
    with pytest.raises(PeerError, match="ahead"):
        pair.bob.store.receive(LINK, early[16], 0)


@pytest.mark.parametrize("n_bytes", [2, 7, 999, 1_000, 1_001, 1_017])
def test_a_short_block_goes_to_authentication_first_and_balances(pair, n_bytes) -> None:
    pair.up()
    pair.block(n_bytes, 500)
    pair.pump()
    pair.accounts_are_equal()
    assert distilled(pair) == [8 * n_bytes] * 2


@pytest.mark.parametrize(("n_bytes", "auth_bytes"), [(0, 500), (1, 500), (15, 0)])
def test_a_block_too_short_for_anything_is_refused(pair, n_bytes, auth_bytes) -> None:
    pair.up()
    with pytest.raises(ValueError, match="too few"):
        prepare(pair, pair.alice, 1, n_bytes, auth_bytes)


@pytest.mark.parametrize("auth_bytes", [0, 1, 500])
def test_the_shortest_key_that_a_proof_gives_is_a_block(pair, auth_bytes) -> None:
    pair.up()
    pair.block(MIN_BITS // 8, auth_bytes)
    pair.pump()
    pair.accounts_are_equal()
    assert distilled(pair) == [MIN_BITS] * 2


def test_a_block_that_went_bad_at_one_end_is_burned_at_both(pair) -> None:
    pair.up()
    number = pair.block(N_BYTES, 0)
    pair.pump()
    pair.bob.store.receive(LINK, BlockBurned(block_no=number), 0)
    pair.alice.store.receive(LINK, BlockBurned(block_no=number), 0)
    pair.accounts_are_equal()
    assert pair.alice.store.account(LINK).stock == 0
