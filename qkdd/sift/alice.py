"""Alice's end of sifting: she looks up her states where Bob clicked, and says what stays."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import packed, packed_bytes
from qkdd.base.choices import ChoiceSource
from qkdd.base.counts import ByIntensity
from qkdd.base.errors import PeerError
from qkdd.base.ids import BlockNo
from qkdd.base.light import LightPlan
from qkdd.base.scratch import Scratch
from qkdd.kernels.sifting import sift_alice
from qkdd.sift.block import KeyGatherer, SiftedBlock, add_counts
from qkdd.sift.clicks import CHUNK_CLICKS, chunk_count
from qkdd.sift.gaps import MAX_BLOCK_PULSES, Slots, decode_gaps
from qkdd.sift.messages import Clicks, Kept, TestErrors


class AliceSifter:
    """One block: LISTENING --all Clicks--> COMPLETE --reply--> REPLIED --TestErrors--> SIFTED.

    Made once the block's last pulse has left. No answer leaves before Bob's list is complete; the
    seed of the block is wiped in the moment it is.
    """

    def __init__(
        self,
        block_no: BlockNo,
        choices: ChoiceSource,
        plan: LightPlan,
        index: int,
        *,
        chunk_clicks: int = CHUNK_CLICKS,
    ) -> None:
        self.block_no = block_no
        self._choices = choices
        self._plan = plan
        self._n_pulses = plan.block_frames(index) * plan.frame_pulses
        self._n_payload = plan.payload_pulses(index)
        if self._n_pulses > MAX_BLOCK_PULSES:
            raise ValueError(f"a block of {self._n_pulses} pulses exceeds {MAX_BLOCK_PULSES}")
        self._chunk_clicks = chunk_clicks
        self._n_clicks: int | None = None
        self._last_slot = -1
        self._slots = Scratch()
        self._replies: list[Kept] = []
        self._n_replied = 0
        self._key = KeyGatherer()
        self._test: ByIntensity = (0, 0, 0)
        self._sifted = False

    @property
    def complete(self) -> bool:
        """Whether Bob's whole list is here."""
        return self._n_clicks is not None and self._n_heard == self._n_chunks

    @property
    def _n_heard(self) -> int:
        return self._n_replied + len(self._replies)

    @property
    def _n_chunks(self) -> int:
        return chunk_count(self._n_clicks or 0, self._chunk_clicks)

    def receive(self, message: Clicks) -> None:
        """Take the next chunk of Bob's list.

        Raises
        ------
        PeerError
            If it is not the next chunk, or a click is where no key can come from; nothing has
            changed then.
        """
        self._expect(message)
        slots, bases = self._read(message)
        states = self._choices.states(slots)
        found = sift_alice(states, bases)
        states.fill(0)
        self._replies.append(
            Kept(
                block_no=self.block_no,
                chunk=message.chunk,
                kept=found.kept,
                weak=found.weak,
                vacuum=found.vacuum,
                test_bits=found.test_bits,
            )
        )
        self._key.add(found.key)
        self._test = add_counts(self._test, found.test)
        self._n_clicks = message.n_clicks
        self._last_slot = int(slots[-1]) if slots.size else self._last_slot
        if self.complete:
            self._choices.wipe()
            self._slots.release()

    def reply(self) -> Iterator[Kept]:
        """Say what stays; to be sent in this order, once."""
        if not self.complete:
            raise RuntimeError(f"Bob's list of block {self.block_no} is not complete")
        if self._n_replied:
            raise RuntimeError(f"block {self.block_no} has been answered")
        return self._reply()

    def _reply(self) -> Iterator[Kept]:
        while self._replies:
            self._n_replied += 1
            yield self._replies.pop(0)

    def sifted(self, message: TestErrors) -> SiftedBlock:
        """Take Bob's count of errors and hand the block over.

        Raises
        ------
        PeerError
            If it comes too early, twice, or counts more errors than bits were compared; nothing
            has changed then.
        """
        if message.block_no != self.block_no:
            raise PeerError(f"TestErrors of block {message.block_no}, block {self.block_no} sifts")
        if not self.complete or self._replies or self._sifted:
            when = "twice" if self._sifted else "before Kept was said"
            raise PeerError(f"TestErrors of block {self.block_no} {when}")
        for wrong, tested in zip(message.errors, self._test, strict=True):
            if wrong > tested:
                raise PeerError(f"{wrong} test errors in {tested} test bits")
        self._sifted = True
        return self._key.finish(self.block_no, test=self._test, test_errors=message.errors)

    def wipe(self) -> None:
        """Forget the block: it is void."""
        self._choices.wipe()
        self._slots.release()
        self._key.wipe()
        self._replies.clear()

    def _expect(self, message: Clicks) -> None:
        if message.block_no != self.block_no:
            raise PeerError(f"Clicks of block {message.block_no}, block {self.block_no} sifts")
        if self.complete:
            raise PeerError(f"Clicks chunk {message.chunk} after the list was complete")
        if message.chunk != self._n_heard:
            raise PeerError(f"Clicks chunk {message.chunk} where {self._n_heard} is due")
        if self._n_clicks not in (None, message.n_clicks):
            raise PeerError(f"{message.n_clicks} clicks announced, {self._n_clicks} before")
        if message.n_clicks > self._n_payload:
            raise PeerError(f"{message.n_clicks} clicks in {self._n_payload} payload pulses")

    def _read(self, message: Clicks) -> tuple[Slots, npt.NDArray[np.uint8]]:
        here = min(self._chunk_clicks, message.n_clicks - message.chunk * self._chunk_clicks)
        where = f"Clicks chunk {message.chunk} of block {self.block_no}"
        if len(message.gaps) % 2 or len(message.bases) != packed_bytes(here):
            raise PeerError(f"{where}: {len(message.gaps)} and {len(message.bases)} bytes")
        try:
            slots, lowest = decode_gaps(
                np.frombuffer(message.gaps, "<u2"),
                self._last_slot,
                here,
                self._plan.frame_pulses,
                self._slots.room(here),
            )
            bases = packed(message.bases, here)
        except ValueError as error:
            raise PeerError(f"{where}: {error}") from error
        if slots.size and slots[-1] >= self._n_pulses:
            raise PeerError(f"{where}: slot {slots[-1]} is past the end at {self._n_pulses}")
        if lowest < self._plan.calibration_pulses:
            raise PeerError(f"{where}: a click in a calibration segment")
        return slots, bases
