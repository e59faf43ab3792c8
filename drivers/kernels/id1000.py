"""Records of an ID1000 to tags: the C kernel and its NumPy twin.

A record has one list of times for each input; tags are one list for all.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

try:
    import drivers.kernels.native.id1000 as _native
except ImportError:  # no compiler where this was installed: the twin serves
    _native = None

MAX_STREAMS = 8
TIME_BYTES = 8

_VARIANTS: tuple[str, ...] = ("numpy",) if _native is None else ("c", "numpy")
_backend = _VARIANTS[0]

Stream = npt.NDArray[np.uint8]
"""(8 n,) bytes, C-contiguous: little-endian unsigned 64-bit times in ps."""


def backend() -> str:
    """Return the variant in use: ``c`` or ``numpy``."""
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


def check(stream: Stream) -> tuple[int, int]:
    """Return the largest time in ps (0 if there is none), and how often a time falls.

    Raises
    ------
    ValueError
        If ``stream`` is not a whole number of times.
    """
    _require_whole(stream)
    if _backend == "c":
        found = _native.ffi.new("uint64_t[2]")
        _native.lib.id1000_check(
            _native.ffi.from_buffer("const uint8_t[]", stream), stream.size // TIME_BYTES, found
        )
        return found[0], found[1]
    times = stream.view("<u8")
    if times.size == 0:
        return 0, 0
    return int(times.max()), int(np.count_nonzero(times[1:] < times[:-1]))


def merge(
    streams: Sequence[Stream], inputs: Sequence[int], offset_ps: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Merge the lists of one record into one in time order.

    Parameters
    ----------
    streams : at most `MAX_STREAMS` times (8 n_i,) uint8
        Each in time order (see `check`), largest time plus offset below 2^63.
    inputs : as many numbers, 0 to 255
        Which input each of them comes from.
    offset_ps : int
        Start of the record, added to every time.

    Returns
    -------
    times_ps : (n,) int64, non-decreasing
    channels : (n,) uint8
        Of equal times the one from the earlier stream stands first.

    Raises
    ------
    ValueError
        If a stream is not a whole number of times, or there are too many of them.
    """
    if len(streams) != len(inputs) or len(streams) > MAX_STREAMS:
        raise ValueError(f"{len(streams)} streams of {len(inputs)} inputs, at most {MAX_STREAMS}")
    for stream in streams:
        _require_whole(stream)
    if _backend == "c":
        return _merge_c(streams, inputs, offset_ps)
    return _merge_numpy(streams, inputs, offset_ps)


def _require_whole(stream: Stream) -> None:
    if stream.size % TIME_BYTES or stream.dtype != np.uint8 or not stream.flags.c_contiguous:
        raise ValueError(f"{stream.size} items of {stream.dtype} are no whole times of 8 bytes")


def _merge_c(
    streams: Sequence[Stream], inputs: Sequence[int], offset_ps: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    ffi = _native.ffi
    buffers = [ffi.from_buffer("const uint8_t[]", stream) for stream in streams]
    n_times = [stream.size // TIME_BYTES for stream in streams]
    times_ps = np.empty(sum(n_times), np.int64)
    channels = np.empty(times_ps.size, np.uint8)
    _native.lib.id1000_merge(
        ffi.new("const uint8_t *[]", buffers),
        ffi.new("int64_t[]", n_times),
        ffi.new("uint8_t[]", list(inputs)),
        len(streams),
        offset_ps,
        ffi.from_buffer("int64_t[]", times_ps),
        ffi.from_buffer("uint8_t[]", channels),
    )
    return times_ps, channels


def _merge_numpy(
    streams: Sequence[Stream], inputs: Sequence[int], offset_ps: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    lists = [stream.view("<u8").astype(np.int64) for stream in streams]
    times_ps = np.concatenate([np.empty(0, np.int64), *lists])
    channels = np.repeat(np.array(inputs, np.uint8), [one.size for one in lists])
    order = np.argsort(times_ps, kind="stable")
    return times_ps[order] + offset_ps, channels[order]
