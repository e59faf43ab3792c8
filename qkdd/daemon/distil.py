"""What both ends do alike with a reconciled block: bound it, hash it, commit it, report it."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import msgspec

from qkdd.amplify.length import SecretLength, secret_length
from qkdd.amplify.settings import ProofSettings
from qkdd.amplify.toeplitz import toeplitz_hash
from qkdd.base.bits import Bits
from qkdd.base.counts import DecoyCounts
from qkdd.base.ids import BlockNo, LinkId
from qkdd.base.light import Intensities, LightPlan
from qkdd.base.secret import Secret
from qkdd.daemon.block_mail import BlockGone
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.snapshot import BlockFacts
from qkdd.reconcile.outcome import Reconciled
from qkdd.reconcile.settings import ReconcileSettings
from qkdd.station.messages import MAX_REASON, BlockVoid

T = TypeVar("T")

Send = Callable[[msgspec.Struct], Awaitable[None]]


class Compute(Protocol):
    """Runs a function somewhere else and waits for its result."""

    async def __call__(self, function: Callable[..., T], *arguments: object) -> T: ...


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """What a distiller must know of its link; all of it is bound by the agreement."""

    link: LinkId
    plan: LightPlan
    intensities: Intensities
    reconcile: ReconcileSettings
    proof: ProofSettings


class Committer(Protocol):
    """The two-end commit, as :class:`qkdd.daemon.birth.BlockBirth` does it."""

    async def commit_block(self, work: "Work", key: Secret, auth_bytes: int) -> bool: ...


class BlockDesk(Committer, Protocol):
    """A committer that wants to know of every block, whatever comes of it."""

    async def begin_block(self) -> None:
        """Count a block, on disk, before its counts are looked at.

        Raises
        ------
        BlockGone
            If there must be no further one.
        """


@dataclass(frozen=True, slots=True)
class Work:
    """One block on its way: which, and where in its run."""

    block_no: BlockNo
    index: int
    n_clicks: int


@dataclass(frozen=True, slots=True)
class Ties:
    """What ties a distiller to its session: settings, key desk, peer, and who hears of blocks."""

    settings: DistilSettings
    desk: BlockDesk
    send: Send
    mailbox: Mailbox
    report: Callable[[BlockFacts], None]
    void: Callable[[int, str], None]
    compute: Compute
    """Runs a long computation off the loop."""

    async def give_up(self, block_no: BlockNo, gone: BlockGone) -> None:
        """Tell operator and peer that a block makes no key."""
        self.void(block_no, str(gone))
        await self.send(BlockVoid(block_no=block_no, reason=str(gone)[:MAX_REASON]))

    async def send_each(self, messages: Iterator[msgspec.Struct]) -> None:
        """Send what a machine says, computing each message off the loop."""
        while (message := await self.compute(next, messages, None)) is not None:
            await self.send(message)


def bound_length(
    counts: DecoyCounts, reconciled: Reconciled, settings: DistilSettings, work: Work
) -> SecretLength:
    """Return the block's secret length from everything that was counted and disclosed."""
    return secret_length(
        replace(counts, key_errors=reconciled.key_errors),
        settings.intensities,
        reconciled.ledger.both_ways_bits,
        settings.proof,
        n_pulses=settings.plan.payload_pulses(work.index),
    )


def hash_block(bits: Bits, seed: bytes | bytearray, n_out: int) -> Secret:
    """Hash the reconciled bits down to ``n_out`` bits of key; wipes the bits."""
    key = Secret(n_out // 8)
    toeplitz_hash(bits, seed, n_out, key.reveal())
    bits.fill(0)
    return key


def check_reconciled(reconciled: Reconciled) -> None:
    """Raise BlockGone if the two ends' bits were found unequal."""
    if not reconciled.ok:
        raise BlockGone("the hashes of the reconciled block differ")


def block_facts(
    work: Work,
    counts: DecoyCounts,
    reconciled: Reconciled,
    length: SecretLength,
    settings: DistilSettings,
    n_auth_bits: int,
) -> BlockFacts:
    """Gather the public numbers of a block for status and log."""
    ledger = reconciled.ledger
    n_key, errors = counts.n_key, reconciled.key_errors
    qber = sum(errors) / n_key if n_key else None
    plan = settings.plan
    return BlockFacts(
        block_no=work.block_no,
        pulse_seconds=plan.block_frames(work.index) * plan.frame_pulses / plan.pulse_rate_hz,
        n_clicks=work.n_clicks,
        n_sifted_bits=n_key,
        n_secret_bits=length.n_out,
        n_auth_bits=n_auth_bits,
        disclosed_one_way_bits=ledger.one_way_bits,
        disclosed_both_ways_bits=ledger.both_ways_bits,
        qber_key=qber,
        qber_test=counts.qber_test if counts.n_test else None,
        qber_key_by_intensity=_ratios(errors, counts.key),
        qber_test_by_intensity=_ratios(counts.test_errors, counts.test),
        key=counts.key,
        test=counts.test,
        key_errors=errors,
        test_errors=counts.test_errors,
        phase_error_bound=length.phi,
        correction=settings.reconcile.correction,
        f_one_way=ledger.f_one_way(qber) if qber else None,
        f_both_ways=ledger.f_both_ways(qber) if qber else None,
        eps_sec=length.eps_sec,
        eps_cor=length.eps_cor,
        reason=length.reason,
    )


def _ratios(
    errors: tuple[int, int, int], counts: tuple[int, int, int]
) -> tuple[float | None, float | None, float | None]:
    signal, weak, vacuum = (
        wrong / count if count else None for wrong, count in zip(errors, counts, strict=True)
    )
    return signal, weak, vacuum
