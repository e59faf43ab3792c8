"""Words of a TDC1 to tags: the C kernel and its NumPy twin."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

try:
    import drivers.kernels.native.tdc1 as _native
except ImportError:  # no compiler where this was installed: the twin serves
    _native = None

TICK_PS = 2000
WRAP_TICKS = 1 << 27


def _built() -> tuple[str, ...]:
    if _native is None:
        return ()
    return tuple(one for one in ("avx2", "c") if _native.lib.tdc1_supported(one.encode("ascii")))


_VARIANTS = (*_built(), "numpy")
_backend = _VARIANTS[0]

_TAGS = np.array([bin(p).count("1") if p < 16 else 0 for p in range(32)], np.uint8)
_CHANNELS = np.zeros((32, 4), np.uint8)
for _pattern in range(16):
    _inputs = [channel for channel in range(1, 5) if _pattern >> (channel - 1) & 1]
    _CHANNELS[_pattern, : len(_inputs)] = _inputs


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    times_ps: npt.NDArray[np.int64]
    """(n,) non-decreasing; tick * 2000."""
    channels: npt.NDArray[np.uint8]
    """(n,) 1 to 4; inputs of one word in rising order."""
    last_tick: int
    """Tick of the last word."""
    longest_step: int
    """Longest time between two words, in ticks, below 2^27."""
    n_hollow: int
    """Words that are neither dummy nor have an input: no tagger sends them."""


def backend() -> str:
    """Return the variant in use: ``avx2``, ``c`` or ``numpy``."""
    return _backend


def variants() -> tuple[str, ...]:
    """Return the variants that work here, the fastest first."""
    return _VARIANTS


def force(name: str) -> None:
    """Use one variant from now on (tests, benchmarks)."""
    global _backend
    if name not in _VARIANTS:
        raise ValueError(f"no variant {name!r}, only {', '.join(_VARIANTS)}")
    _backend = name


def decode(data: npt.NDArray[np.uint8], last_tick: int) -> Decoded:
    """Decode whole words.

    Parameters
    ----------
    data : (4 n,) uint8, C-contiguous
        Little-endian words: bits 31..5 time in ticks of 2 ns, bit 4 dummy event, bits 3..0 the
        inputs (S-Fifteen TDC1 documentation, "Timestamp mode").
    last_tick : int
        Tick of the word before, counted on over the wraps of 2^27 ticks.

    Raises
    ------
    ValueError
        If ``data`` is not a whole number of words.
    """
    if data.size % 4 or data.dtype != np.uint8 or not data.flags.c_contiguous:
        raise ValueError(f"{data.size} items of {data.dtype} are no whole words of bytes")
    if _backend == "numpy":
        return _decode_numpy(data, last_tick)
    return _decode_c(data, last_tick)


def _decode_c(data: npt.NDArray[np.uint8], last_tick: int) -> Decoded:
    ffi, lib = _native.ffi, _native.lib
    n_words = data.size // 4
    source = ffi.from_buffer("const uint8_t[]", data)
    n_tags = lib.tdc1_count(source, n_words)
    times_ps = np.empty(n_tags, np.int64)
    channels = np.empty(n_tags, np.uint8)
    state = ffi.new("int64_t[3]", [last_tick, 0, 0])
    lib.tdc1_decode(
        _backend.encode("ascii"),
        source,
        n_words,
        state,
        ffi.from_buffer("int64_t[]", times_ps),
        ffi.from_buffer("uint8_t[]", channels),
    )
    return Decoded(times_ps, channels, state[0], state[1], state[2])


def _decode_numpy(data: npt.NDArray[np.uint8], last_tick: int) -> Decoded:
    words = data.view("<u4")
    if words.size == 0:
        return Decoded(np.empty(0, np.int64), np.empty(0, np.uint8), last_tick, 0, 0)
    times = (words >> np.uint32(5)).astype(np.int64)
    steps = np.diff(times, prepend=last_tick % WRAP_TICKS) % WRAP_TICKS
    ticks = last_tick + np.cumsum(steps)
    patterns = words & np.uint32(31)
    n_tags = _TAGS[patterns]
    places = np.arange(4) < n_tags[:, None]
    return Decoded(
        times_ps=np.repeat(ticks, n_tags) * TICK_PS,
        channels=_CHANNELS[patterns][places],
        last_tick=int(ticks[-1]),
        longest_step=int(steps.max()),
        n_hollow=int(np.count_nonzero(patterns == 0)),
    )
