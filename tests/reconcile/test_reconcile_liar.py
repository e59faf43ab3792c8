"""A peer that lies is named (PeerError), and changes nothing."""

from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.base.errors import PeerError
from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.messages import BlockHash, BlockVerdict, Revealed, Syndromes, Verdicts
from qkdd.reconcile.settings import ReconcileSettings

OPTIONS = ReconcileSettings(max_iterations=3)
N_BITS = 40_000
ANY = Syndromes | Verdicts | Revealed | BlockHash | BlockVerdict


def a_pair(n_bits: int = N_BITS, qber: float = 0.02, estimate: float = 0.02):
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2, n_bits, np.uint8)
    wrong = bits ^ (rng.random(n_bits) < qber).astype(np.uint8)
    intensities = rng.choice(3, n_bits, p=[0.8, 0.18, 0.02]).astype(np.uint8)
    alice = AliceReconciler(7, bits, intensities, estimate, OPTIONS, rng.bytes)
    return alice, BobReconciler(7, wrong, intensities, OPTIONS)


def finish(alice: AliceReconciler, bob: BobReconciler, syndromes: Syndromes) -> None:
    """Go on honestly from Alice's only batch, and end well."""
    to_bob = [syndromes]
    while to_bob:
        answers = [answer for message in to_bob for answer in bob.receive(message)]
        to_bob = [reply for answer in answers for reply in alice.receive(answer)]
    assert alice.result is not None
    assert bob.result is not None
    assert alice.result.ok
    assert alice.ledger == bob.ledger


def changed(message, **changes):
    return msgspec.structs.replace(message, **changes)


@pytest.mark.parametrize(
    "lie",
    [
        {"block_no": 8},
        {"first_frame": 16},
        {"first_frame": -1},
        {"qber_ppm": -1},
        {"qber_ppm": 110_001},
        {"qber_ppm": 90_000},
        {"check_key": b"short"},
        {"parities": ()},
        {"parities": (b"",)},
        {"parities": (bytes(100_000),)},
        {"checks": ()},
        {"checks": (1 << 32,)},
        {"checks": (-1,)},
    ],
    ids=str,
)
def test_bob_refuses_false_syndromes_and_goes_on_with_true_ones(lie: dict) -> None:
    alice, bob = a_pair()
    (true,) = alice.start()
    with pytest.raises(PeerError):
        bob.receive(changed(true, **lie))
    finish(alice, bob, true)


def test_bob_refuses_a_batch_twice_and_an_estimate_that_changes() -> None:
    alice, bob = a_pair(n_bits=17 * FRAME_BITS)
    batches = alice.start()
    first, second = next(batches), next(batches)
    bob.receive(first)
    with pytest.raises(PeerError, match="awaited"):
        bob.receive(first)
    with pytest.raises(PeerError, match="estimate changed"):
        bob.receive(changed(second, qber_ppm=second.qber_ppm + 1))


@pytest.mark.parametrize(
    "lie",
    [
        {"first_frame": 1},
        {"round_no": 0},
        {"round_no": 2},
        {"parts": ()},
        {"parts": (b"",)},
        {"parts": (bytes(9_000),)},
    ],
    ids=str,
)
def test_bob_refuses_false_rounds(lie: dict) -> None:
    alice, bob = a_pair(n_bits=FRAME_BITS, qber=0.05)
    (syndromes,) = alice.start()
    (verdicts,) = bob.receive(syndromes)
    (revealed,) = alice.receive(verdicts)
    before = bob.ledger.as_dict()
    with pytest.raises(PeerError):
        bob.receive(changed(revealed, **lie))
    assert before == bob.ledger.as_dict()
    (verdicts,) = bob.receive(revealed)
    assert (verdicts.round_no, len(verdicts.again)) == (1, 1)


@pytest.mark.parametrize(
    "lie",
    [
        {"block_no": 6},
        {"first_frame": 16},
        {"round_no": 1},
        {"round_no": -1},
        {"again": b""},
        {"again": b"\x02"},
        {"again": b"\x00\x00"},
    ],
    ids=str,
)
def test_alice_refuses_false_verdicts(lie: dict) -> None:
    alice, bob = a_pair(n_bits=FRAME_BITS)
    (syndromes,) = alice.start()
    (verdicts,) = bob.receive(syndromes)
    before = alice.ledger.as_dict()
    with pytest.raises(PeerError):
        alice.receive(changed(verdicts, **lie))
    assert before == alice.ledger.as_dict()
    alice.receive(verdicts)


def test_bob_refuses_a_hash_before_the_frames_are_done_and_after_the_verdict() -> None:
    alice, bob = a_pair()
    (syndromes,) = alice.start()
    early = BlockHash(block_no=7, hash_key=bytes(56), hash=bytes(8))
    with pytest.raises(PeerError, match="not all done"):
        bob.receive(early)
    finish(alice, bob, syndromes)
    with pytest.raises(PeerError, match="not all done"):
        bob.receive(early)


def to_the_hash():
    alice, bob = a_pair(n_bits=200)
    (syndromes,) = alice.start()
    (verdicts,) = bob.receive(syndromes)
    (block_hash,) = alice.receive(verdicts)
    return alice, bob, block_hash


@pytest.mark.parametrize("lie", [{"hash_key": bytes(55)}, {"hash": bytes(7)}], ids=str)
def test_bob_refuses_a_malformed_hash(lie: dict) -> None:
    alice, bob, true = to_the_hash()
    with pytest.raises(PeerError):
        bob.receive(changed(true, **lie))
    (verdict,) = bob.receive(true)
    alice.receive(verdict)
    assert alice.result is not None
    assert alice.result.ok


def test_a_hash_that_differs_fails_the_block_at_both_ends_and_tells_no_counts() -> None:
    alice, bob, true = to_the_hash()
    (verdict,) = bob.receive(changed(true, hash=bytes(8)))
    alice.receive(verdict)
    assert alice.result is not None
    assert bob.result is not None
    assert (alice.result.ok, bob.result.ok) == (False, False)
    assert alice.result.key_errors == bob.result.key_errors == (0, 0, 0)
    assert alice.ledger == bob.ledger


@pytest.mark.parametrize(
    "lie",
    [
        {"errors": (-1, 0, 0)},
        {"errors": (201, 0, 0)},
        {"errors": (0, 0, 30)},
        {"equal": False, "errors": (1, 0, 0)},
    ],
    ids=str,
)
def test_alice_refuses_impossible_error_counts(lie: dict) -> None:
    alice, bob, true = to_the_hash()
    (verdict,) = bob.receive(true)
    with pytest.raises(PeerError):
        alice.receive(changed(verdict, **lie))
    alice.receive(verdict)
    assert alice.result is not None
    with pytest.raises(PeerError):
        alice.receive(verdict)


def test_alice_refuses_a_verdict_on_a_hash_she_never_sent() -> None:
    alice, _ = a_pair()
    list(alice.start())
    with pytest.raises(PeerError, match="no hash is open"):
        alice.receive(BlockVerdict(block_no=7, equal=True, errors=(0, 0, 0)))


def test_wrong_parities_never_end_in_unequal_bits_that_count() -> None:
    """A forged syndrome fails its frame's check; at worst the frame is disclosed whole."""
    alice, bob = a_pair(n_bits=40_000, qber=0.01, estimate=0.01)
    (syndromes,) = alice.start()
    forged = bytearray(syndromes.parities[0])
    forged[0] ^= 1
    finish(alice, bob, changed(syndromes, parities=(bytes(forged),)))
    assert alice.result is not None
    assert bob.result is not None
    assert np.array_equal(alice.result.bits, bob.result.bits)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=80))
def test_no_bytes_from_the_peer_break_either_end(data: bytes) -> None:
    alice, bob = a_pair(n_bits=300)
    list(alice.start())
    # nothing else may come out; UnicodeDecodeError is msgspec's for a tag that is no text
    with suppress(msgspec.DecodeError, UnicodeDecodeError, PeerError):
        message = msgspec.msgpack.decode(data, type=ANY)
        if isinstance(message, Verdicts | BlockVerdict):
            alice.receive(message)
        else:
            bob.receive(message)


numbers = st.integers(-3, 2**40)
blobs = st.binary(max_size=70)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.builds(
            Syndromes,
            block_no=st.just(7),
            first_frame=st.integers(-1, 1),
            qber_ppm=numbers,
            check_key=blobs,
            parities=st.lists(blobs, max_size=2).map(tuple),
            checks=st.lists(numbers, max_size=2).map(tuple),
        ),
        st.builds(
            Revealed,
            block_no=st.just(7),
            first_frame=st.integers(-1, 1),
            round_no=numbers,
            parts=st.lists(blobs, max_size=2).map(tuple),
        ),
        st.builds(BlockHash, block_no=st.just(7), hash_key=blobs, hash=blobs),
        st.builds(
            Verdicts,
            block_no=st.just(7),
            first_frame=st.integers(-1, 1),
            round_no=st.integers(-1, 2),
            again=blobs,
        ),
        st.builds(
            BlockVerdict,
            block_no=st.just(7),
            equal=st.booleans(),
            errors=st.tuples(numbers, numbers, numbers),
        ),
    )
)
def test_well_formed_nonsense_is_the_peers_fault(message: ANY) -> None:
    alice, bob = a_pair(n_bits=300)
    (syndromes,) = alice.start()
    bob.receive(syndromes)
    with suppress(PeerError):
        if isinstance(message, Verdicts | BlockVerdict):
            alice.receive(message)
        else:
            bob.receive(message)


@pytest.mark.parametrize("message", [Verdicts, Syndromes, Revealed, BlockHash, BlockVerdict])
def test_every_message_survives_the_wire(message: type) -> None:
    alice, bob = a_pair(n_bits=FRAME_BITS, qber=0.05)
    (syndromes,) = alice.start()
    (verdicts,) = bob.receive(syndromes)
    (revealed,) = alice.receive(verdicts)
    samples = [
        syndromes,
        verdicts,
        revealed,
        BlockHash(block_no=1, hash_key=b"k", hash=b"h"),
        BlockVerdict(block_no=1, equal=True, errors=(1, 2, 3)),
    ]
    sample = next(sample for sample in samples if type(sample) is message)
    assert sample == msgspec.msgpack.decode(msgspec.msgpack.encode(sample), type=ANY)


def test_a_caller_who_errs_hears_of_it() -> None:
    bits, intensities = np.zeros(8, np.uint8), np.zeros(7, np.uint8)
    with pytest.raises(ValueError, match="intensities"):
        AliceReconciler(7, bits, intensities, 0.01, OPTIONS, bytes)
    with pytest.raises(ValueError, match="intensities"):
        BobReconciler(7, bits, intensities, OPTIONS)
    with pytest.raises(ValueError, match="QBER"):
        AliceReconciler(7, bits, bits, 0.2, OPTIONS, bytes)
    alice = AliceReconciler(7, bits, bits, 0.01, OPTIONS, bytes)
    list(alice.start())
    with pytest.raises(RuntimeError, match="start"):
        list(alice.start())
