"""The sans-IO machines of a block: well-formed words of a peer that lies, and bytes that are none.

A machine that refuses a word has not changed: it is compared with what it was, and used again.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from qkdd.amplify.messages import AmplifySeed
from qkdd.amplify.seed import SeedReceiver, seed_messages
from qkdd.amplify.toeplitz import seed_bytes
from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.base.ids import BlockNo
from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.codes import FRAME_BITS
from qkdd.reconcile.messages import (
    BlockHash,
    BlockVerdict,
    Checks,
    Differences,
    Parities,
    Revealed,
    Syndromes,
    Verdicts,
)
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.sift.alice import AliceSifter
from qkdd.sift.messages import Clicks, Kept, TestErrors
from tests.fuzz.target import Kept as KeptMachine
from tests.fuzz.target import Target
from tests.reconcile.cascade_pair import Pair
from tests.sift.test_sifting import BLOCK, CHUNK, a_conversation

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError)
"""What qkdd.net.codec turns into a PeerError before a machine hears of it."""
N_BITS = 300
ONE_STEP = ReconcileSettings(max_iterations=2)


def word_target(
    name: str,
    kind: Any,
    seeds: list[msgspec.Struct],
    make: Callable[[], Any],
    hear: Callable[[Any, Any], object],
    *,
    slow: bool = False,
) -> Target:
    """Let a machine hear words of ``kind``, whole ones and torn ones."""
    machine, decoder = KeptMachine(make), msgspec.msgpack.Decoder(kind)

    def feed(data: bytes) -> bool:
        try:
            word = decoder.decode(data)
        except MALFORMED:
            return False
        one = machine.get()
        try:
            hear(one, word)
        except (PeerError, SecurityAlarm):
            machine.refused()
            return False
        except BaseException:
            machine.accepted()
            raise
        machine.accepted()
        return True

    written = tuple(map(msgspec.msgpack.encode, seeds))
    return Target(name, "peer", written, feed, "msgpack", slow=slow)


def sift_alice() -> Target:
    clicks = a_conversation(100)[2]

    def hear(alice: AliceSifter, word: Clicks | TestErrors) -> None:
        if isinstance(word, TestErrors):
            alice.sifted(word)
        else:
            alice.receive(word)

    errors = TestErrors(block_no=BLOCK, errors=(1, 0, 0))
    return word_target(
        "sift-alice", Clicks | TestErrors, [*clicks, errors], lambda: a_conversation(100)[0], hear
    )


def sift_alice_replied() -> Target:
    def replied() -> AliceSifter:
        alice, _, clicks = a_conversation(100)
        for one in clicks:
            alice.receive(one)
        list(alice.reply())
        return alice

    errors = TestErrors(block_no=BLOCK, errors=(1, 0, 0))
    return word_target(
        "sift-test-errors", TestErrors, [errors], replied, lambda alice, word: alice.sifted(word)
    )


def sift_bob() -> Target:
    alice, _, clicks = a_conversation(100)
    for one in clicks:
        alice.receive(one)
    said = list(alice.reply())
    return word_target(
        "sift-bob", Kept, said, lambda: a_conversation(100)[1], lambda bob, word: bob.receive(word)
    )


def a_pair(n_bits: int) -> tuple[AliceReconciler, BobReconciler]:
    dice = np.random.default_rng(4)
    bits = dice.integers(0, 2, n_bits, np.uint8)
    wrong = bits ^ (dice.random(n_bits) < 0.06).astype(np.uint8)
    intensities = dice.choice(3, n_bits, p=[0.8, 0.18, 0.02]).astype(np.uint8)
    alice = AliceReconciler(7, bits, intensities, 0.02, ONE_STEP, dice.bytes)
    return alice, BobReconciler(7, wrong, intensities, ONE_STEP)


OF_ALICE = Syndromes | Revealed | BlockHash
OF_BOB = Verdicts | BlockVerdict


def heard(machine: Any, word: Any) -> None:
    machine.receive(word)


def ldpc_bob() -> Target:
    """A block that is disclosed, for speed: every word of Alice's is tried on its beginning."""
    alice, bob = a_pair(N_BITS)
    (syndromes,) = alice.start()
    (verdicts,) = bob.receive(syndromes)
    (block_hash,) = alice.receive(verdicts)
    revealed = Revealed(block_no=7, first_frame=0, round_no=1, parts=(bytes(8),))
    seeds = [syndromes, block_hash, revealed]
    return word_target("ldpc-bob", OF_ALICE, seeds, lambda: a_pair(N_BITS)[1], heard)


def ldpc_bob_at_hash() -> Target:
    def at_hash() -> BobReconciler:
        alice, bob = a_pair(N_BITS)
        (syndromes,) = alice.start()
        bob.receive(syndromes)
        return bob

    alice, bob = a_pair(N_BITS)
    (syndromes,) = alice.start()
    said = alice.receive(bob.receive(syndromes)[0])
    return word_target("ldpc-bob-hash", OF_ALICE, [*said, syndromes], at_hash, heard)


def ldpc_bob_in_rounds() -> Target:
    """A whole frame that a decoder of two steps does not correct: its rounds go on."""

    def in_rounds() -> BobReconciler:
        bob = a_pair(FRAME_BITS)[1]
        bob.receive(syndromes)
        return bob

    alice, bob = a_pair(FRAME_BITS)
    (syndromes,) = alice.start()
    (revealed,) = alice.receive(bob.receive(syndromes)[0])
    return word_target(
        "ldpc-bob-rounds", OF_ALICE, [revealed, revealed], in_rounds, heard, slow=True
    )


def ldpc_alice() -> Target:
    def started() -> AliceReconciler:
        alice = a_pair(N_BITS)[0]
        list(alice.start())
        return alice

    alice, bob = a_pair(N_BITS)
    (syndromes,) = alice.start()
    seeds = [*bob.receive(syndromes), BlockVerdict(block_no=7, equal=True, errors=(3, 2, 0))]
    return word_target("ldpc-alice", OF_BOB, seeds, started, heard)


def ldpc_alice_at_verdict() -> Target:
    def at_verdict() -> AliceReconciler:
        alice, bob = a_pair(N_BITS)
        (syndromes,) = alice.start()
        alice.receive(bob.receive(syndromes)[0])
        return alice

    seeds = [
        BlockVerdict(block_no=7, equal=equal, errors=errors)
        for equal, errors in ((True, (3, 2, 0)), (False, (0, 0, 0)))
    ]
    return word_target("ldpc-alice-verdict", OF_BOB, seeds, at_verdict, heard)


def _cascade(place: int) -> tuple[Pair, list[msgspec.Struct]]:
    """A pair that has said so many words, and the words; the last one was not heard."""
    pair = Pair(N_BITS, 0.03)
    to_bob, said = list(pair.alice.start()), []
    while to_bob:
        for message in to_bob:
            said.append(message)
            if len(said) > place:
                return pair, said
            for answer in pair.bob.receive(message):
                said.append(answer)
                if len(said) > place:
                    return pair, said
                to_bob = list(pair.alice.receive(answer))
    return pair, said


CASCADE_ALICE = Parities | Checks | Revealed | BlockHash
CASCADE_BOB = Differences | Verdicts | BlockVerdict


def cascades() -> list[Target]:
    """Both ends, at the first search, in the middle of it, and at the words of the end."""
    _, said = _cascade(1_000)
    found = []
    last = len(said) - 1
    for name, place in (("begin", 0), ("search", last // 2 & ~1), ("end", last - 1 & ~1)):
        for end, offset, kind in (("bob", 0, CASCADE_ALICE), ("alice", 1, CASCADE_BOB)):
            seeds = [said[at + offset] for at in (place, 0, last - 1)]
            found.append(
                word_target(
                    f"cascade-{end}-{name}",
                    kind,
                    seeds,
                    lambda at=place + offset, end=end: getattr(_cascade(at)[0], end),
                    heard,
                )
            )
    return found


def seed_of_hash() -> Target:
    seed = bytes(seed_bytes(4_000))
    true = list(seed_messages(BlockNo(7), seed, n_out=1_000, auth_bytes=32))
    return word_target(
        "amplify-seed",
        AmplifySeed,
        true,
        lambda: SeedReceiver(BlockNo(7), 4_000, 1_000),
        lambda one, word: one.receive(word),
    )


def targets() -> list[Target]:
    assert CHUNK < 100, "the sifters are to have more than one chunk"
    return [
        sift_alice(),
        sift_alice_replied(),
        sift_bob(),
        ldpc_bob(),
        ldpc_bob_at_hash(),
        ldpc_bob_in_rounds(),
        ldpc_alice(),
        ldpc_alice_at_verdict(),
        *cascades(),
        seed_of_hash(),
    ]
