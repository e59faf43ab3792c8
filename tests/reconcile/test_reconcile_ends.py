"""Either method behind one interface: what follows does not know which it was."""

import msgspec
import numpy as np
import pytest

from qkdd.kernels.spread import spread
from qkdd.net.codec import MESSAGES
from qkdd.reconcile import codes, tight
from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.cascade_alice import CascadeAlice
from qkdd.reconcile.ends import OF_ALICE, OF_BOB, alice_end, bob_end
from qkdd.reconcile.frames import cut, load_codes
from qkdd.reconcile.settings import ReconcileSettings
from tests.reconcile.wire import run


@pytest.mark.parametrize(("method", "kind"), [("ldpc", AliceReconciler), ("cascade", CascadeAlice)])
def test_each_method_says_only_what_the_other_end_waits_for(method, kind) -> None:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, 70_000, np.uint8)
    wrong = bits ^ (rng.random(bits.size) < 0.03).astype(np.uint8)
    alike = np.zeros(bits.size, np.uint8)
    settings = ReconcileSettings(method=method)
    alice = alice_end(3, bits, alike, 0.03, settings, rng.bytes)
    bob = bob_end(3, wrong, alike, settings)
    assert isinstance(alice, kind)
    to_bob = list(alice.start())
    while to_bob:
        assert all(isinstance(message, OF_ALICE[method]) for message in to_bob)
        answers = [answer for message in to_bob for answer in bob.receive(message)]
        assert all(isinstance(answer, OF_BOB[method]) for answer in answers)
        to_bob = [reply for answer in answers for reply in alice.receive(answer)]
    assert alice.result is not None
    assert alice.result.ok
    assert np.array_equal(bits, wrong)


def read_from_disk() -> list[int]:
    return [read.cache_info().misses for read in (codes.family, tight.code_from, tight._table)]


@pytest.mark.parametrize("point", ["fast", "tight"])
def test_an_end_is_made_on_the_loop_without_reading_a_code(point: str) -> None:
    """It took 70 ms of the loop, which reads the time tagger's events of the relay's other link."""
    for read in (codes.family, tight.code_from, tight._table):
        read.cache_clear()
    settings = ReconcileSettings(ldpc_point=point)
    alike = np.zeros(10, np.uint8)
    alice_end(3, alike, alike, 0.03, settings, bytes)
    bob_end(3, alike, alike, settings)
    assert read_from_disk() == [0, 0, 0]


@pytest.mark.parametrize("point", ["fast", "tight"])
def test_codes_that_were_loaded_before_the_light_are_not_read_again(point: str) -> None:
    settings = ReconcileSettings(ldpc_point=point)
    load_codes(settings)
    codes_before, _, table_before = read_from_disk()
    cut(2_000_000, 30_000, settings)
    assert read_from_disk()[::2] == [codes_before, table_before]


def test_errors_in_stretches_cost_little_more_than_the_same_errors_everywhere() -> None:
    """Somebody moved a fibre for a tenth of the block: no frame is disclosed whole for it."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, 5 * 65_536, np.uint8)
    rates = np.where(np.arange(bits.size) % (bits.size // 2) < bits.size // 20, 0.06, 0.01)
    wrong = bits ^ (rng.random(bits.size) < rates).astype(np.uint8)
    disclosed = {}
    for name, order in (("as they came", lambda values: None), ("spread", spread)):
        mine, theirs = bits.copy(), wrong.copy()
        order(mine)
        order(theirs)
        disclosed[name] = reconcile(mine, theirs, 0.015) / bits.size
        assert np.array_equal(mine, theirs)
    h = -0.015 * np.log2(0.015) - 0.985 * np.log2(0.985)
    assert disclosed["spread"] < 1.25 * h < 2 * h < disclosed["as they came"]


def reconcile(alices: np.ndarray, bobs: np.ndarray, qber: float) -> int:
    """Return how many bits were disclosed."""
    rng, alike = np.random.default_rng(1), np.zeros(alices.size, np.uint8)
    settings = ReconcileSettings()
    alice = alice_end(3, alices, alike, qber, settings, rng.bytes)
    bob = bob_end(3, bobs, alike, settings)
    ours, theirs = run(alice, bob)
    assert ours.ok
    assert ours.ledger == theirs.ledger
    return ours.ledger.both_ways_bits


def test_every_word_of_either_method_has_a_place_on_the_wire() -> None:
    said = {kind for kinds in (*OF_ALICE.values(), *OF_BOB.values()) for kind in kinds}
    assert said <= set(MESSAGES)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="winnow"):
        msgspec.convert({"method": "winnow"}, ReconcileSettings)
