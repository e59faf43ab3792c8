"""Slots of clicks as gaps of two bytes and back: C kernel and NumPy twin. See qkdd.sift.gaps."""

import numpy as np
import numpy.typing as npt

try:
    import qkdd.kernels.native.gaps as _native
except ImportError:  # no compiler when this was installed: the twin serves
    _native = None

TWIN = "numpy"
ESCAPE = 65_535
"""The word that counts so many pulses and says that the gap goes on."""


def backends() -> tuple[str, ...]:
    """Return what runs on this machine, best first; the twin always does."""
    return (TWIN,) if _native is None else ("c", TWIN)


_backend = backends()[0]


def backend() -> str:
    return _backend


def force(name: str | None) -> None:
    """Use one variant from now on (tests, benchmarks); None goes back to the best."""
    global _backend
    if name is not None and name not in backends():
        raise ValueError(f"backend {name!r} is not one of {backends()}")
    _backend = backends()[0] if name is None else name


def encode(slots: npt.NDArray[np.uint32], previous: int) -> npt.NDArray[np.uint16]:
    """Write strictly rising ``slots``, the first above ``previous``: see qkdd.sift.gaps.

    Raises
    ------
    ValueError
        If they do not rise.
    """
    if not slots.size:
        return np.empty(0, "<u2")
    if _backend == TWIN:
        return _encode_twin(slots, previous)
    room = slots.size + max(0, (int(slots[-1]) - previous) // ESCAPE)
    words = np.empty(room, "<u2")
    ffi = _native.ffi
    n_words = _native.lib.gaps_encode(
        ffi.from_buffer("uint32_t[]", np.ascontiguousarray(slots)),
        slots.size,
        previous,
        ffi.from_buffer("uint8_t[]", words),
        room,
    )
    if n_words < 0:
        raise ValueError(f"slots do not rise strictly after slot {previous}")
    return words[:n_words]


def _encode_twin(slots: npt.NDArray[np.uint32], previous: int) -> npt.NDArray[np.uint16]:
    gaps = np.empty(slots.size, np.int64)
    gaps[0] = int(slots[0]) - previous
    np.subtract(slots[1:], slots[:-1], out=gaps[1:], dtype=np.int64)
    if gaps.min() < 1:
        raise ValueError(f"slots do not rise strictly after slot {previous}")
    escapes, rest = np.divmod(gaps, ESCAPE)
    words = np.full(slots.size + int(escapes.sum()), ESCAPE, "<u2")
    words[np.cumsum(escapes + 1) - 1] = rest
    return words


def decode(
    words: npt.NDArray[np.uint16],
    previous: int,
    n_clicks: int,
    frame_pulses: int,
    room: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int64], int]:
    """Undo :func:`encode`.

    Parameters
    ----------
    room : (n_clicks or more,) int64
        Where the kernel puts the slots; left out, and for the twin: a new array.

    Returns
    -------
    slots : (n_clicks,) int64, strictly rising, above ``previous``
    lowest : int
        The lowest ``slot % frame_pulses``; 2^63 - 1 if there is no click.

    Raises
    ------
    ValueError
        If the words are not exactly ``n_clicks`` gaps, or a gap is 0.
    """
    if _backend != TWIN:
        slots = np.empty(n_clicks, np.int64) if room is None else room[:n_clicks]
        if slots.size < n_clicks:
            raise ValueError(f"room for {slots.size} slots, not {n_clicks}")
        ffi = _native.ffi
        lowest = _native.lib.gaps_decode(
            ffi.from_buffer("uint8_t[]", words),
            words.size,
            previous,
            n_clicks,
            frame_pulses,
            ffi.from_buffer("int64_t[]", slots),
        )
        if lowest >= 0:
            return slots, lowest
    return _decode_twin(words, previous, n_clicks, frame_pulses)  # it says what is wrong


def _decode_twin(
    words: npt.NDArray[np.uint16], previous: int, n_clicks: int, frame_pulses: int
) -> tuple[npt.NDArray[np.int64], int]:
    slots = np.cumsum(words, dtype=np.int64)
    slots += previous
    closes = words != ESCAPE
    if words.size and not closes[-1]:
        raise ValueError("the last gap does not end")
    slots = slots[closes]
    if slots.size != n_clicks:
        raise ValueError(f"{slots.size} gaps for {n_clicks} clicks")
    if not n_clicks:
        return slots, np.iinfo(np.int64).max
    if slots[0] <= previous or np.any(slots[1:] <= slots[:-1]):
        raise ValueError("a gap is 0")
    return slots, int((slots % frame_pulses).min())
