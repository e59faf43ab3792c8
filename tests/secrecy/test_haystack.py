"""The search finds every form of a secret, wherever it lies, and nothing that is not there."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.secrecy.haystack import (
    PAGE_BYTES,
    PIECE_BYTES,
    Haystack,
    files,
    memory,
    search,
)
from tests.secrecy.needles import Needle, of_bits, of_bytes, of_symbols

RNG = np.random.default_rng(3)
SECRET = RNG.bytes(32)
BITS = RNG.integers(0, 2, 100_000, np.uint8)
DETECTORS = RNG.integers(0, 4, 10_000, np.uint8)


def unpacked(order: str) -> bytes:
    return np.unpackbits(np.frombuffer(SECRET, np.uint8), bitorder=order).tobytes()  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "form",
    [
        lambda: SECRET,
        lambda: SECRET[:16],
        lambda: SECRET[16:],
        lambda: SECRET.hex().encode(),
        lambda: SECRET.hex().upper().encode(),
        lambda: base64.b64encode(SECRET),
        lambda: base64.b64encode(b"x" + SECRET),
        lambda: base64.b64encode(b"xy" + SECRET),
        lambda: unpacked("little"),
        lambda: unpacked("big"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 7, 4090])
def test_every_form_of_a_key_is_found_at_any_place(form: Callable[[], bytes], before: int) -> None:
    hay = RNG.bytes(before) + form() + RNG.bytes(5_000)
    assert search(of_bytes("key", SECRET), [("here", hay)])
    assert not search(of_bytes("key", RNG.bytes(32)), [("here", hay)])


@pytest.mark.parametrize("shift", range(9))
@pytest.mark.parametrize("order", ["little", "big"])
def test_bits_are_found_packed_at_any_place_in_a_byte(order: str, shift: int) -> None:
    moved = np.concatenate((RNG.integers(0, 2, shift, np.uint8), BITS))
    for hay in (np.packbits(moved, bitorder=order).tobytes(), moved.tobytes()):  # type: ignore[arg-type]
        assert search(of_bits("raw", BITS), [("here", hay)])
    hay = np.packbits(1 - moved, bitorder=order).tobytes()  # type: ignore[arg-type]
    assert not search(of_bits("raw", BITS), [("here", hay)])


RAW = Haystack(of_bits("raw", BITS))


@given(start=st.integers(0, 90_000))
def test_any_tenth_of_a_block_is_enough(start: int) -> None:
    part = BITS[start : start + 10_000]
    assert RAW.search("here", part.tobytes())
    assert RAW.search("here", np.packbits(part, bitorder="little").tobytes())


def test_packed_bits_are_found_as_text_and_detectors_as_they_are() -> None:
    packed = np.packbits(BITS, bitorder="little").tobytes()
    for hay in (packed.hex().encode(), base64.b64encode(packed)):
        assert search(of_bits("raw", BITS), [("here", hay)])
    assert search(of_symbols("clicks", DETECTORS), [("here", b"?" + DETECTORS.tobytes())])


def test_what_lies_across_pages_of_zeros_and_pieces_is_found() -> None:
    hay = bytearray(3 * PAGE_BYTES)
    hay[PAGE_BYTES - 9 : PAGE_BYTES - 9 + 32] = SECRET
    haystack = Haystack([Needle("key", SECRET[:16])])
    assert haystack.search("here", bytes(hay))
    hay = bytearray(PAGE_BYTES + 20)
    hay[-16:] = SECRET[:16]
    assert haystack.search("here", bytes(hay))


def test_zeros_and_padding_are_no_needles() -> None:
    assert not list(of_bytes("nothing", bytes(32)))
    assert not list(of_bits("nothing", np.zeros(1_000, np.uint8)))
    with pytest.raises(AssertionError, match="nothing to look for"):
        search([], [("here", b"")])


HOLDER = """
import sys
held = bytearray({size})
where = {where}
held[where : where + 32] = sys.stdin.buffer.read(32)
print("ready", flush=True)
sys.stdin.buffer.read(1)
"""


def test_a_process_and_a_file_are_searched_to_their_ends(tmp_path: Path) -> None:
    code = HOLDER.format(size=PIECE_BYTES + 100, where=PIECE_BYTES - 20)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(SECRET)
        assert process.stdout.readline() == b"ready\n"
        needles = list(of_bytes("key", SECRET))
        strange = list(of_bytes("key", os.urandom(32)))
        assert search(needles, memory(process.pid))
        assert not search(strange, memory(process.pid))
        process.stdin.write(b".")
    path = tmp_path / "deep" / "file"
    path.parent.mkdir()
    path.write_bytes(bytes(PIECE_BYTES + 10) + SECRET)
    assert search(needles, files(tmp_path)) == [
        found for found in search(needles, files(tmp_path)) if "file deep/file" in found
    ]
    assert not search(strange, files(tmp_path))
