"""The whole river in one process: laser to secret key, with the machines that the daemons run.

No event loop, socket or disk. Simulated light, TDC1 words, decoder, frames, sifting,
reconciliation, secret length and hash, in the order in which qkdd.daemon carries out their
actions; every call is timed in CPU time of its thread, by end and stage.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from benchmarks.laboratory import Laboratory
from benchmarks.predicted import Setup
from benchmarks.stopwatch import Stopwatch
from drivers.timetagger.tdc1_stream import Tdc1Decoder
from qkdd.amplify.length import SecretLength
from qkdd.amplify.seed import SeedReceiver, seed_messages
from qkdd.amplify.settings import ProofSettings
from qkdd.auth.budget import AuthBudget
from qkdd.auth.seal import Opener, Sealer
from qkdd.auth.tags import SessionContext
from qkdd.base.bits import Bits
from qkdd.base.choices import ChoiceSource, calibration_states
from qkdd.base.counts import DecoyCounts
from qkdd.base.entropy import Entropy
from qkdd.base.ids import BlockNo, LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.daemon.distil import DistilSettings, Work, bound_length, check_reconciled, hash_block
from qkdd.frames.events import BlockEnded, DetectedFrame, Event, FrameStartFound, Lost
from qkdd.frames.receiver import LightReceiver
from qkdd.net.codec import decode_batch, encode_message, join_batch
from qkdd.net.framing import Kind
from qkdd.reconcile.ends import alice_end, bob_end
from qkdd.reconcile.ledger import Ledger
from qkdd.reconcile.outcome import Reconciled
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.sift.alice import AliceSifter
from qkdd.sift.block import SiftedBlock
from qkdd.sift.bob import BobSifter

M = TypeVar("M", bound=msgspec.Struct)

LINK = LinkId("a-b")
ALICE, BOB = "Alice", "Bob"
DETECTORS = {1: 0, 2: 1, 3: 2, 4: 3}
AUTH_SHARE = 16


class Wire:
    """Messages as between two relays, without TLS and TCP: encoded, tagged, verified, decoded."""

    def __init__(self, watch: Stopwatch, entropy: Entropy) -> None:
        self._watch = watch
        self._entropy = entropy
        names = {ALICE: NodeId("relay-a"), BOB: NodeId("relay-b")}
        contexts = {
            end: SessionContext(LINK, names[end], names[_peer(end)], b"opening") for end in names
        }
        self._sealers = {end: Sealer(contexts[end]) for end in names}
        self._openers = {end: Opener(contexts[end], AuthBudget()) for end in names}
        self.n_bytes = {ALICE: 0, BOB: 0}

    def carry(self, sender: str, message: M) -> M:
        """Return what the other end reads."""
        receiver = _peer(sender)
        key = self._entropy(self._sealers[sender].key_bytes)
        payload, tag = self._watch(sender, "messages", self._seal, sender, message, key)
        self.n_bytes[sender] += len(payload)
        read = self._watch(receiver, "messages", self._open, receiver, payload, tag, key)
        assert isinstance(read, type(message))
        return read

    def _seal(self, end: str, message: msgspec.Struct, key: bytes) -> tuple[bytes, bytes]:
        payload = join_batch([encode_message(message)])
        return payload, self._sealers[end].seal(Kind.BATCH, payload, Secret.from_bytes(key))

    def _open(self, end: str, payload: bytes, tag: bytes, key: bytes) -> msgspec.Struct:
        self._openers[end].load(Secret.from_bytes(key))
        self._openers[end].open(Kind.BATCH, payload, tag)
        (message,) = decode_batch(payload)
        return message


def _peer(end: str) -> str:
    return BOB if end == ALICE else ALICE


@dataclass(frozen=True, eq=False)
class Distilled:
    """One block at the river's mouth; ``keys`` are Alice's and Bob's, None if there is no key."""

    index: int
    n_clicks: int
    counts: DecoyCounts
    ledger: Ledger
    length: SecretLength
    keys: tuple[Secret, Secret] | None
    auth_bytes: int

    @property
    def qber_key(self) -> float:
        assert self.counts.key_errors is not None
        return sum(self.counts.key_errors) / self.counts.n_key


class River:
    """One run of a link, block after block."""

    def __init__(self, setup: Setup, *, seed: int, entropy: Entropy) -> None:
        self.watch = Stopwatch()
        self.n_tags = 0
        """Decoded since the light was found."""
        self._entropy = entropy
        self._settings = DistilSettings(
            LINK, setup.plan, setup.intensities, ReconcileSettings(), ProofSettings()
        )
        self._laboratory = Laboratory(setup, self.watch, seed=seed, entropy=entropy)
        self._decoder = Tdc1Decoder()
        self._receiver = LightReceiver(setup.plan, setup.frames, DETECTORS, entropy)
        self._receiver.hunt(calibration_states(self._laboratory.calibration_seed))
        self._locked = False
        self._sifter = BobSifter(BlockNo(0))
        self._last_qber: float | None = None
        self.wire = Wire(self.watch, entropy)

    def blocks(self) -> Iterator[Distilled]:
        """Let the light run; distil each block as it ends."""
        while True:
            data = self._laboratory.step()
            tags = self.watch(BOB, "decode", self._decoder.feed, data)
            stage = "frames" if self._locked else "hunt"
            events = self.watch(BOB, stage, self._receiver.feed, tags)
            self.n_tags += tags.times_ps.size if self._locked else 0
            for event in events:
                yield from self._handle(event)

    def _handle(self, event: Event) -> Iterator[Distilled]:
        match event:
            case FrameStartFound():
                self._locked = True
            case DetectedFrame():
                self.watch(BOB, "sift", self._sifter.add, event.slots, event.detectors, event.start)
                self.watch(BOB, "sift", event.wipe)
            case BlockEnded():
                ended = self._sifter
                self._sifter = BobSifter(BlockNo(event.block_index + 1))
                yield self._distil(event.block_index, ended)
            case Lost():
                raise RuntimeError(f"the light was lost: {event.reason}")

    def _choices(self, seed: bytes) -> ChoiceSource:
        return ChoiceSource(Secret.from_bytes(seed), self._settings.intensities)

    def _distil(self, index: int, sifter: BobSifter) -> Distilled:
        alice, bob = self._sift(index, sifter)
        assert alice.counts == bob.counts, "the two ends count differently"
        ends = self._reconcile(alice, bob)
        for end in ends:
            check_reconciled(end)
        assert ends[0].ledger == ends[1].ledger, "the two ends' ledgers differ"
        work = Work(sifter.block_no, index, sifter.n_clicks)
        counts, settings = alice.counts, self._settings
        length, twin = (
            self.watch(name, "length", bound_length, counts, end, settings, work)
            for name, end in zip((ALICE, BOB), ends, strict=True)
        )
        assert length == twin, "the two ends' lengths differ"
        auth_bytes = length.n_out // 8 // AUTH_SHARE
        keys = None
        if length.n_out:
            keys = self._amplify(index, ends, length.n_out, auth_bytes)
        self.watch(ALICE, "sift", alice.wipe)
        self.watch(BOB, "sift", bob.wipe)
        errors = ends[0].key_errors
        counts = DecoyCounts(
            key=counts.key, test=counts.test, test_errors=counts.test_errors, key_errors=errors
        )
        self._last_qber = sum(errors) / counts.n_key
        return Distilled(index, sifter.n_clicks, counts, ends[0].ledger, length, keys, auth_bytes)

    def _sift(self, index: int, bob: BobSifter) -> tuple[SiftedBlock, SiftedBlock]:
        choices = self._choices(self._laboratory.block_seeds[index])
        alice = AliceSifter(bob.block_no, choices, self._settings.plan, index)
        self.watch(BOB, "sift", bob.close)
        for clicks in self.watch.each(BOB, "sift", bob.announce()):
            self.watch(ALICE, "sift", alice.receive, self.wire.carry(BOB, clicks))
        theirs = None
        for kept in self.watch.each(ALICE, "sift", alice.reply()):
            theirs = self.watch(BOB, "sift", bob.receive, self.wire.carry(ALICE, kept))
        assert theirs is not None
        ours = self.watch(ALICE, "sift", alice.sifted, self.wire.carry(BOB, bob.errors()))
        return ours, theirs

    def _reconcile(self, a: SiftedBlock, b: SiftedBlock) -> tuple[Reconciled, Reconciled]:
        qber = self._last_qber
        if qber is None:
            qber = (sum(a.counts.test_errors) + 1) / (a.counts.n_test + 2)
        options = self._settings.reconcile
        bits, intensities = a.key_bits, a.key_intensities
        alice = self.watch(
            ALICE, "reconcile", alice_end,
            a.block_no, bits, intensities, qber, options, self._entropy,
        )  # fmt: skip
        bob = self.watch(
            BOB, "reconcile", bob_end, b.block_no, b.key_bits, b.key_intensities, options
        )
        for syndromes in self.watch.each(ALICE, "reconcile", alice.start()):
            to_bob: Iterable[msgspec.Struct] = (syndromes,)
            while to_bob:
                answers = [
                    answer
                    for message in to_bob
                    for answer in self.watch(
                        BOB, "reconcile", bob.receive, self.wire.carry(ALICE, message)
                    )
                ]
                to_bob = [
                    more
                    for answer in answers
                    for more in self.watch(
                        ALICE, "reconcile", alice.receive, self.wire.carry(BOB, answer)
                    )
                ]
        assert alice.result is not None
        assert bob.result is not None
        return alice.result, bob.result

    def _amplify(
        self, index: int, ends: tuple[Reconciled, Reconciled], n_out: int, auth_bytes: int
    ) -> tuple[Secret, Secret]:
        bits: tuple[Bits, Bits] = (ends[0].bits, ends[1].bits)
        seed = bytearray(self.watch(ALICE, "amplify", self._entropy, -(-(bits[0].size - 1) // 8)))
        receiver = SeedReceiver(BlockNo(index), bits[1].size, n_out)
        messages = seed_messages(BlockNo(index), seed, n_out=n_out, auth_bytes=auth_bytes)
        for message in self.watch.each(ALICE, "amplify", messages):
            self.watch(BOB, "amplify", receiver.receive, self.wire.carry(ALICE, message))
        return (
            self.watch(ALICE, "amplify", hash_block, bits[0], seed, n_out),
            self.watch(BOB, "amplify", hash_block, bits[1], receiver.seed, n_out),
        )
