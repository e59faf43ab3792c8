"""Quasi-cyclic LDPC: syndromes and belief-propagation decoding, with the NumPy twin.

Integers only, so that every variant of the C kernel and the twin give the same bits. The scale of
the 8-bit log-likelihoods is the caller's: it comes in through the ``phi`` and ``inverse`` tables.
"""

import numpy as np
import numpy.typing as npt

from qkdd.kernels.ldpc_graph import LANES, Graph, Window

try:
    import qkdd.kernels.native.ldpc as native
except ImportError:
    native = None

Bytes = npt.NDArray[np.uint8]

LLR_MAX = 127
SUM_MAX = 65535
FINE = 128
"""Sums below this have an entry of the inverse table each, larger ones share one by 32."""

COARSE = 32
NEAR = 32
"""Entries of the table of what a bit that is taken out of a check leaves more."""

_forced: str | None = None


def backends() -> tuple[str, ...]:
    """Every backend that this machine can run, the best first."""
    if native is None:
        return ("numpy",)
    variants = ("avx512", "avx512bw", "avx2", "baseline")
    return (*(v for v in variants if native.lib.ldpc_supports(v.encode())), "numpy")


def backend() -> str:
    """The backend in use."""
    return _forced or backends()[0]


def force(name: str | None) -> None:
    """Use the backend ``name`` from now on; None goes back to the best."""
    global _forced
    if name is not None and name not in backends():
        raise ValueError(f"backend {name!r} is not one of {backends()} on this machine")
    _forced = name


def syndrome(graph: Graph, bits: Bytes) -> Bytes:
    """Return the parity of every check: uint8 0/1, ``n_checks`` of them.

    ``bits`` holds ``n_bits`` values 0 or 1.
    """
    _require(bits, np.uint8, graph.n_bits)
    if backend() == "numpy":
        return _numpy_syndrome(graph, bits)
    assert native is not None
    twice = np.empty(2 * graph.n_bits, np.uint8)
    out = np.empty(graph.n_checks, np.uint8)
    buffer = native.ffi.from_buffer
    native.lib.ldpc_syndrome(
        backend().encode(),
        graph.z,
        graph.n_columns,
        graph.n_rows,
        buffer("int32_t[]", graph.row_start),
        buffer("int32_t[]", graph.columns),
        buffer("int32_t[]", graph.shifts),
        buffer("uint8_t[]", np.ascontiguousarray(bits)),
        buffer("uint8_t[]", twice),
        buffer("uint8_t[]", out),
    )
    twice.fill(0)
    return out


def decode(
    graph: Graph,
    llr: npt.NDArray[np.int8],
    target: Bytes,
    phi: npt.NDArray[np.uint16],
    inverse: Bytes,
    near: Bytes,
    max_iterations: int,
    *,
    patience: int | None = None,
    messages: npt.NDArray[np.int8] | None = None,
    warm_rows: int = 0,
    window: Window | None = None,
) -> tuple[int, Bytes]:
    """Find the error pattern whose syndrome is ``target``, by layered belief propagation.

    Parameters
    ----------
    graph : Graph
    llr : (n_bits,) int8, -127..127
        ln(P(0)/P(1)) of each bit of the pattern, in steps of the caller's choice.
    target : (n_checks,) uint8, 0 or 1
        The syndrome to meet.
    phi : (128,) uint16
        -ln tanh(x/2) of each magnitude, in steps of the caller's choice.
    inverse : (256,) uint8, at most 254
        The magnitude of a sum d of ``phi`` in half steps of ``llr``: entry d below 128, else entry
        128 + min(d // 32, 127).
    near : (32,) uint8
        -ln(1 - exp(-x)) of each magnitude, in half steps; of larger ones it counts as 0.
    max_iterations : int
        Passes over all rows, or as many rows in windows, before it gives up.
    patience : int, optional
        It also gives up after this many passes in which the checks that the values read do not
        meet became no fewer than 31/32 of the least count before, nor the front of the window came
        further than ever; by default never.
    messages : (n_messages,) int8, optional
        From the checks to their bits, in order of row, circulant and check. After a failure it
        holds where decoding ended, after a success zeros. See :func:`new_messages`.
    warm_rows : int
        The first rows begin with the ``messages`` given (that they left before more rows were put
        below them), the others with zeros.
    window : Window, optional
        Pass over the rows near the front only; by default over all, in order.

    Returns
    -------
    iterations : int
        Passes used, those over windows by their rows and rounded up; minus that if the syndrome
        was not met.
    errors : (n_bits,) uint8
        0/1. Its syndrome is exactly ``target`` if ``iterations >= 0``.

    Notes
    -----
    Gallager 1963 (phi form), Hocevar 2004 doi:10.1109/SIPS.2004.1363033 (layers), and Jones,
    Valles, Smith, Villasenor, MILCOM 2003 (one sum for all but the least sure bit, corrected here).
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations {max_iterations} is below 1")
    _require(llr, np.int8, graph.n_bits)
    _require(target, np.uint8, graph.n_checks)
    _require(phi, np.uint16, 128)
    _require(inverse, np.uint8, 2 * FINE)
    _require(near, np.uint8, NEAR)
    if inverse.max() > 2 * LLR_MAX:
        raise ValueError(f"expected at most {2 * LLR_MAX} in inverse, got {inverse.max()}")
    patience = max_iterations if patience is None else patience
    if patience < 1:
        raise ValueError(f"patience {patience} is below 1")
    if not 0 <= warm_rows <= (graph.n_rows if messages is not None else 0):
        raise ValueError(f"{warm_rows} rows do not have messages")
    kept = new_messages(graph) if messages is None else messages
    _require(kept, np.int8, graph.n_messages)
    everything = Window(graph.n_rows, 0, 0, np.arange(graph.n_rows, dtype=np.int32))
    window = everything if window is None else window
    if window.order.dtype != np.int32 or not np.array_equal(
        np.sort(window.order), everything.order
    ):
        raise ValueError(f"the order is none of {graph.n_rows} rows")
    if window.ahead < 1 or window.behind < 0 or window.slack < 0:
        raise ValueError(
            f"a window of {window.ahead} ahead, {window.behind} behind, slack {window.slack}"
        )
    if not kept.flags.c_contiguous:
        raise ValueError("messages are not contiguous")
    run = _numpy_decode if backend() == "numpy" else _native_decode
    result = run(
        graph, llr, target, phi, inverse, near, max_iterations, patience, warm_rows, kept, window
    )
    if messages is None:
        kept.fill(0)
    return result


def new_messages(graph: Graph) -> npt.NDArray[np.int8]:
    """Return room for ``messages`` at an address that suits the C kernel; what it holds is junk."""
    return _aligned(graph.n_messages).view(np.int8)


def _aligned(n_bytes: int) -> Bytes:
    space = np.empty(n_bytes + LANES, np.uint8)
    return space[-space.ctypes.data % LANES :][:n_bytes]


def _native_decode(
    graph: Graph,
    llr: npt.NDArray[np.int8],
    target: Bytes,
    phi: npt.NDArray[np.uint16],
    inverse: Bytes,
    near: Bytes,
    max_iterations: int,
    patience: int,
    warm_rows: int,
    messages: npt.NDArray[np.int8],
    window: Window,
) -> tuple[int, Bytes]:
    assert native is not None
    errors = np.empty(graph.n_bits, np.uint8)
    space = _aligned(graph.workspace_bytes)
    sizes = [min(window.ahead, graph.n_rows), min(window.behind, graph.n_rows), window.slack]
    buffer = native.ffi.from_buffer
    iterations = native.lib.ldpc_decode(
        backend().encode(),
        graph.z,
        graph.n_columns,
        graph.n_rows,
        buffer("int32_t[]", graph.row_start),
        buffer("int32_t[]", graph.columns),
        buffer("int32_t[]", graph.shifts),
        buffer("int32_t[]", np.ascontiguousarray(window.order)),
        native.ffi.new("int32_t[]", sizes),
        buffer("int8_t[]", np.ascontiguousarray(llr)),
        buffer("uint8_t[]", np.ascontiguousarray(target)),
        buffer("uint16_t[]", np.ascontiguousarray(phi)),
        buffer("uint8_t[]", np.ascontiguousarray(inverse)),
        buffer("uint8_t[]", np.ascontiguousarray(near)),
        max_iterations,
        patience,
        warm_rows,
        buffer("int8_t[]", messages),
        buffer("uint8_t[]", errors),
        buffer("uint8_t[]", space),
    )
    space.fill(0)  # posteriors tell where the errors were
    return int(iterations), errors


def _require(array: npt.NDArray[np.generic], dtype: npt.DTypeLike, size: int) -> None:
    if array.dtype != dtype or array.shape != (size,):
        raise ValueError(f"expected {size} of {np.dtype(dtype)}, got {array.shape} {array.dtype}")


def _numpy_syndrome(graph: Graph, bits: Bytes) -> Bytes:
    out = np.empty(graph.n_checks, np.uint8)
    for row, index in enumerate(_row_indices(graph)):
        out[row * graph.z : (row + 1) * graph.z] = np.bitwise_xor.reduce(bits[index], axis=0)
    return out


def _row_indices(graph: Graph) -> list[npt.NDArray[np.int64]]:
    """For each row, the bit of each of its circulants (axis 0) in each check (axis 1)."""
    k = np.arange(graph.z)
    flat = graph.columns[:, None] * graph.z + (graph.shifts[:, None] + k) % graph.z
    return [flat[a:b] for a, b in zip(graph.row_start, graph.row_start[1:], strict=False)]


def _numpy_decode(
    graph: Graph,
    llr: npt.NDArray[np.int8],
    target: Bytes,
    phi: npt.NDArray[np.uint16],
    inverse: Bytes,
    near: Bytes,
    max_iterations: int,
    patience: int,
    warm_rows: int,
    messages: npt.NDArray[np.int8],
    window: Window,
) -> tuple[int, Bytes]:
    posterior = llr.astype(np.int16)
    indices = _row_indices(graph)
    goals = target.reshape(graph.n_rows, graph.z).astype(bool)
    kept = messages.reshape(-1, graph.z)
    kept[graph.row_start[warm_rows] :] = 0
    rows = [kept[a:b] for a, b in zip(graph.row_start, graph.row_start[1:], strict=False)]
    for index, row in zip(indices, rows, strict=True):
        posterior[index] += row
    order, ahead = window.order.tolist(), min(window.ahead, graph.n_rows)
    whole = ahead == graph.n_rows
    turns = stale = furthest = n_passes = 0
    least = np.iinfo(np.int32).max
    front = _first_wrong(graph, posterior, target, order)
    while front < graph.n_rows and turns < max_iterations * graph.n_rows and stale < patience:
        begin = 0 if whole else max(0, front - window.behind)
        reach = ahead if n_passes % 2 == 0 else (ahead + 1) // 2
        end = graph.n_rows if whole else min(front + reach, graph.n_rows)
        front, unmet = end, 0
        for turn in range(begin, end):
            row, index, goal = rows[order[turn]], indices[order[turn]], goals[order[turn]]
            unmet += _numpy_row(posterior, row, index, goal, (phi, inverse, near))
            front = turn if unmet > window.slack and front == end else front
        n_passes += 1
        turns += end - begin
        further = not whole and front > furthest
        stale = 0 if further or unmet < least - least // 32 else stale + 1
        furthest = front if further else furthest
        least = unmet if stale == 0 else least
        if end == graph.n_rows and (whole or front == end):
            front = _first_wrong(graph, posterior, target, order)
    passes = -(-turns // graph.n_rows)
    errors = (posterior < 0).astype(np.uint8)
    if front < graph.n_rows:
        return -passes, errors
    kept.fill(0)
    return passes, errors


def _numpy_row(
    posterior: npt.NDArray[np.int16],
    row: npt.NDArray[np.int8],
    index: npt.NDArray[np.int64],
    goal: npt.NDArray[np.bool_],
    tables: tuple[npt.NDArray[np.uint16], Bytes, Bytes],
) -> int:
    """Let a row take its turn; return how many checks the values that it read do not meet."""
    phi, inverse, near = tables
    value = posterior[index] - row
    sure = np.minimum(np.abs(value), LLR_MAX)
    least = sure.min(axis=0)
    total = np.minimum(phi[sure].sum(axis=0, dtype=np.int64), SUM_MAX)
    twice = _magnitude(inverse, total)
    most = (_magnitude(inverse, np.maximum(total - phi[least], 0)) + 1) // 2
    whole = (twice + 1) // 2
    padded = np.append(near, 0).astype(np.int16)
    more = np.minimum(twice + padded[np.clip(sure - whole, 0, NEAR)], 255)
    rest = np.maximum(more - padded[np.minimum(sure + whole, NEAR)], 0)
    size = np.where(sure == least, most, np.minimum((rest + 1) // 2, most))
    negative = value < 0
    wrong = np.bitwise_xor.reduce(negative, axis=0) ^ goal
    row[:] = np.where(wrong ^ negative, -size, size)
    posterior[index] = value + row
    return int(np.count_nonzero(wrong))


def _magnitude(inverse: Bytes, total: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    entry = np.where(total < FINE, total, FINE + np.minimum(total // COARSE, FINE - 1))
    return inverse[entry].astype(np.int16)


def _first_wrong(
    graph: Graph, posterior: npt.NDArray[np.int16], target: Bytes, order: list[int]
) -> int:
    """Return the first turn whose row is not met; the number of rows if there is none."""
    differs = _numpy_syndrome(graph, (posterior < 0).astype(np.uint8)) != target
    wrong = np.flatnonzero(differs.reshape(graph.n_rows, -1).any(axis=1)[order])
    return int(wrong[0]) if wrong.size else graph.n_rows
