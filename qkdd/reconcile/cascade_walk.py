"""The search of Cascade in a batch of frames: all blocks of odd difference are halved at once.

Every pass orders a frame's bits anew (publicly) and cuts it into blocks of a power of two. A block
is a tree of halves. Both ends know of the same nodes whether the two ends' parities differ ("odd"):
Alice tells the parities of the nodes that are asked for, Bob tells which of them differ, and the
other half of a node follows. Where a single bit is odd, both know that Bob's was wrong; all blocks
of all passes that hold it change, and odd ones are halved again, from the smallest node that is
known. Which nodes are asked for follows from what was said before, so nobody has to name them.

When few nodes are odd, several levels below each are asked for at once: some parities more, and as
many round trips less.

Brassard and Salvail, EUROCRYPT '93; the use of known halves, and of all passes at once: as in
Martinez-Mateo et al., arXiv:1407.3257, and the parallel form of cascade-cpp's documentation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qkdd.base.bits import Bits

OWN, ODD, UNKNOWN = 1, 2, 4
"""What a tree's node holds: this end's parity; whether the ends differ; whether that is open."""

DEEPEST = 6
"""Levels asked for at once, at most."""

_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Of the SplitMix64 generator (Steele, Lea, Flood 2014); any odd numbers would do."""

Index = npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def order(pass_no: int, depth: int) -> Index:
    """Which bit stands where in a pass over 2^depth bits: no change in pass 0, then mixed.

    Steps that can be undone, modulo 2^depth: add, multiply by an odd number, fold the upper half
    into the lower. The same on every machine and in every release of NumPy.
    """
    mask = (1 << depth) - 1
    x = np.arange(1 << depth, dtype=np.int64)
    for turn in range(4 if pass_no else 0):
        salt = (pass_no * _MULTIPLIERS[0] + turn * _MULTIPLIERS[1]) & (1 << 64) - 1
        factor = (salt ^ salt >> 29) * _MULTIPLIERS[2] >> 20 & mask | 1
        x = (x * factor + (salt & mask)) & mask
        x ^= x >> (depth + 1) // 2
    x.setflags(write=False)
    return x


@lru_cache(maxsize=64)
def place(pass_no: int, depth: int) -> Index:
    """Where each bit stands in a pass: the inverse of :func:`order`."""
    inverse = np.empty(1 << depth, np.int64)
    inverse[order(pass_no, depth)] = np.arange(1 << depth)
    inverse.setflags(write=False)
    return inverse


@dataclass(slots=True)
class _Pass:
    number: int
    tree: npt.NDArray[np.uint8]
    """(frames * 2^(depth+1),): node 1 of a frame is its top, 2i and 2i+1 the halves of i."""
    odd: Index
    """Nodes that differ and whose halves are not known: the ones to be halved."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Nodes of one pass whose parities are asked for, level by level from the upper ones."""

    of: _Pass
    opening: bool
    levels: tuple[Index, ...]


class Walk:
    """One search through a batch: own() and told() in turn for as long as ``n_asked``.

    Parameters
    ----------
    bits : (frames, 2^depth) uint8
    stages : log2 of the block sizes of the passes that are opened together, stage by stage
    first_pass : int
        Number of the first pass: which public orders are used.
    even : bool
        Each frame is known to differ in an even number of bits, so that of the blocks of a pass the
        last one need not be asked for. Known from the second stage on anyway.
    budget : int
        As many parities may be asked for in one step by going more levels down.
    corrects : bool
        Whether this end's bits are the ones that are wrong: Bob's.
    """

    def __init__(
        self,
        bits: Bits,
        stages: Sequence[Sequence[int]],
        *,
        first_pass: int,
        even: bool,
        budget: int,
        corrects: bool,
    ) -> None:
        self._bits = bits
        self._n_frames = bits.shape[0]
        self._depth = bits.shape[1].bit_length() - 1
        assert bits.shape[1] == 1 << self._depth
        self._stages = list(stages)
        self._next_pass = first_pass
        self._even = even
        self._budget = budget
        self._flip = np.uint8(OWN | ODD if corrects else ODD)
        self._passes: list[_Pass] = []
        self._questions: list[_Question] = []
        self._n_told = 0
        self._open_stage()

    @property
    def n_asked(self) -> int:
        """Parities asked for in this step; 0 at the end."""
        return sum(level.size for question in self._questions for level in question.levels)

    def own(self) -> Bits:
        """This end's parities of the nodes asked for."""
        parts = [q.of.tree[level] & OWN for q in self._questions for level in q.levels]
        return np.concatenate(parts)

    def told(self, odd: Bits) -> None:
        """Take which of them differ, correct what is found, and ask on."""
        assert odd.size == self.n_asked
        self._n_told += odd.size
        start = 0
        found: list[Index] = []
        for question in self._questions:
            answers = []
            for level in question.levels:
                answers.append(odd[start : start + level.size])
                start += level.size
            if question.opening:
                self._opened(question.of, question.levels[0], answers[0])
            else:
                found.append(self._halved(question, answers))
        if found:
            self._correct(np.unique(np.concatenate(found)))
        self._ask()

    def bits(self) -> Bits:
        """This end's bits as they are now, (frames, 2^depth); a copy that its taker wipes."""
        if not self._passes:
            return self._bits.copy()
        first = self._passes[0]
        leaves = first.tree.reshape(self._n_frames, -1)[:, 1 << self._depth :] & OWN
        return np.take(leaves, place(first.number, self._depth), axis=1)

    def wipe(self) -> None:
        for one in self._passes:
            one.tree.fill(0)
        self._passes.clear()
        self._questions = []

    def _open_stage(self) -> None:
        sizes = self._stages.pop(0)
        now = self.bits()
        for log2_size in sizes:
            one = _Pass(self._next_pass, self._tree(now, self._next_pass), np.empty(0, np.int64))
            self._next_pass += 1
            self._passes.append(one)
            top = 1 << self._depth - log2_size
            tops = self._frame_starts()[:, None] + np.arange(top, 2 * top)
            asked = tops[:, :-1] if self._even else tops
            self._questions.append(_Question(one, opening=True, levels=(asked.reshape(-1),)))
        now.fill(0)
        self._even = True

    def _frame_starts(self) -> Index:
        starts: Index = np.arange(self._n_frames, dtype=np.int64) << self._depth + 1
        return starts

    def _tree(self, bits: Bits, pass_no: int) -> npt.NDArray[np.uint8]:
        """Parities of all nodes of all frames, all of them unknown."""
        n = 1 << self._depth
        tree = np.empty((self._n_frames, 2 * n), np.uint8)
        tree[:, :1] = 0
        tree[:, n:] = np.take(bits, order(pass_no, self._depth), axis=1)
        while n > 1:
            np.bitwise_xor(tree[:, n : 2 * n : 2], tree[:, n + 1 : 2 * n : 2], tree[:, n // 2 : n])
            n //= 2
        tree |= UNKNOWN
        return tree.reshape(-1)

    def _opened(self, one: _Pass, asked: Index, odd: Bits) -> None:
        _learn(one.tree, asked, odd)
        odd = odd.reshape(self._n_frames, -1)
        asked = asked.reshape(self._n_frames, -1)
        first = (asked[0, 0] if asked.size else 1) & (2 << self._depth) - 1
        if asked.shape[1] < first:  # the last one was not asked for: the rest of an even number
            last = self._frame_starts() + 2 * first - 1
            rest: Bits = np.bitwise_xor.reduce(odd, axis=1).astype(np.uint8)
            _learn(one.tree, last, rest)
            asked = np.column_stack((asked, last))
            odd = np.column_stack((odd, rest))
        one.odd = asked[odd == 1]

    def _halved(self, question: _Question, answers: Sequence[Bits]) -> Index:
        """Learn both halves of every node asked about; return the wrong bits found, by frame."""
        tree, leaf = question.of.tree, 1 << self._depth
        found, open_ = [], question.of.odd
        for left, odd in zip(question.levels, answers, strict=True):
            _learn(tree, left, odd)
            differs = (tree[self._above(left)] & ODD).astype(bool)
            _learn(tree, left + 1, differs.view(np.uint8) ^ odd)
            both = np.concatenate((left, left + 1))
            at_leaf = self._node(both) >= leaf
            found.append(both[at_leaf & (tree[both] & ODD != 0)])
            open_ = both[~at_leaf]
        question.of.odd = open_[tree[open_] & ODD != 0]
        leaves = np.concatenate(found)
        frame = leaves >> self._depth + 1
        bit = order(question.of.number, self._depth)[self._node(leaves) - leaf]
        wrong: Index = (frame << self._depth) + bit
        return wrong

    def _node(self, where: Index) -> Index:
        """Number of a node within its frame."""
        node: Index = where & (2 << self._depth) - 1
        return node

    def _above(self, where: Index) -> Index:
        node = self._node(where)
        above: Index = where - node + (node >> 1)
        return above

    def _correct(self, wrong: Index) -> None:
        """Turn bits over in every pass, and see what is odd now."""
        if not wrong.size:
            return
        frame, bit = wrong >> self._depth, wrong & (1 << self._depth) - 1
        levels = np.arange(self._depth + 1)
        for one in self._passes:
            leaf = place(one.number, self._depth)[bit] + (1 << self._depth)
            path = (frame << self._depth + 1)[:, None] + (leaf[:, None] >> levels)
            np.bitwise_xor.at(one.tree, path.reshape(-1), self._flip)
            known = one.tree[path] & UNKNOWN == 0
            smallest = path[np.arange(wrong.size), known.argmax(axis=1)][known.any(axis=1)]
            # A single bit that was known to be right, and is now said to be wrong, is a lie.
            smallest = smallest[self._node(smallest) < 1 << self._depth]
            touched = np.unique(np.concatenate((one.odd, smallest)))
            one.odd = touched[one.tree[touched] & ODD != 0]

    def _ask(self) -> None:
        """Choose the next nodes; the next stage if none is odd; nothing at the end."""
        self._questions = []
        n_odd = sum(one.odd.size for one in self._passes)
        if n_odd == 0:
            if self._stages:
                self._open_stage()
        else:
            n_levels = 1
            while n_levels < DEEPEST and n_odd * ((2 << n_levels) - 1) <= self._budget:
                n_levels += 1
            self._questions = [
                _Question(one, opening=False, levels=self._below(one.odd, n_levels))
                for one in self._passes
                if one.odd.size
            ]
        # Honest ends are far from it. Who lies must not have a frame's bits told over and over.
        if self._n_told + self.n_asked > self._bits.size:
            self._questions = []

    def _below(self, odd: Index, n_levels: int) -> tuple[Index, ...]:
        """Left halves of the nodes and of everything under them, ``n_levels`` deep."""
        levels = []
        for _ in range(n_levels):
            if not odd.size:
                break
            left = odd + self._node(odd)
            levels.append(left)
            both = np.concatenate((left, left + 1))
            odd = both[self._node(both) < 1 << self._depth]
        return tuple(levels)


def _learn(tree: npt.NDArray[np.uint8], where: Index, odd: Bits) -> None:
    tree[where] = tree[where] & OWN | odd << 1
