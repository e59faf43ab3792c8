"""Quasi-cyclic LDPC: syndromes and belief-propagation decoding, with the NumPy twin.

Integers only, so that every variant of the C kernel and the twin give the same bits. The scale of
the 8-bit log-likelihoods is the caller's: it comes in through the ``phi`` and ``inverse`` tables.
"""

import numpy as np
import numpy.typing as npt

from qkdd.kernels.ldpc_graph import LANES, Graph

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
    max_iterations: int,
    *,
    patience: int | None = None,
    messages: npt.NDArray[np.int8] | None = None,
    warm_rows: int = 0,
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
    inverse : (256,) uint8, at most 127
        The magnitude of a sum d of ``phi``: entry d below 128, else entry 128 + min(d // 32, 127).
    max_iterations : int
        Passes over all rows before it gives up.
    patience : int, optional
        It also gives up after this many passes in which the checks that the values read do not
        meet became no fewer than 31/32 of the least count before; by default never.
    messages : (n_messages,) int8, optional
        From the checks to their bits, in order of row, circulant and check. After a failure it
        holds where decoding ended, after a success zeros. See :func:`new_messages`.
    warm_rows : int
        The first rows begin with the ``messages`` given (that they left before more rows were put
        below them), the others with zeros.

    Returns
    -------
    iterations : int
        Passes used; minus that if the syndrome was not met.
    errors : (n_bits,) uint8
        0/1. Its syndrome is exactly ``target`` if ``iterations >= 0``.

    Notes
    -----
    Gallager 1963 (phi form), Hocevar 2004 doi:10.1109/SIPS.2004.1363033 (layers).
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations {max_iterations} is below 1")
    _require(llr, np.int8, graph.n_bits)
    _require(target, np.uint8, graph.n_checks)
    _require(phi, np.uint16, 128)
    _require(inverse, np.uint8, 2 * FINE)
    patience = max_iterations if patience is None else patience
    if patience < 1:
        raise ValueError(f"patience {patience} is below 1")
    if not 0 <= warm_rows <= (graph.n_rows if messages is not None else 0):
        raise ValueError(f"{warm_rows} rows do not have messages")
    kept = new_messages(graph) if messages is None else messages
    _require(kept, np.int8, graph.n_messages)
    if not kept.flags.c_contiguous:
        raise ValueError("messages are not contiguous")
    run = _numpy_decode if backend() == "numpy" else _native_decode
    result = run(graph, llr, target, phi, inverse, max_iterations, patience, warm_rows, kept)
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
    max_iterations: int,
    patience: int,
    warm_rows: int,
    messages: npt.NDArray[np.int8],
) -> tuple[int, Bytes]:
    assert native is not None
    errors = np.empty(graph.n_bits, np.uint8)
    space = _aligned(graph.workspace_bytes)
    reads, end_turn, rotation = graph.turns
    buffer = native.ffi.from_buffer
    iterations = native.lib.ldpc_decode(
        backend().encode(),
        graph.z,
        graph.n_columns,
        graph.n_rows,
        buffer("int32_t[]", graph.row_start),
        buffer("int32_t[]", graph.columns),
        buffer("int32_t[]", reads),
        buffer("int32_t[]", end_turn),
        buffer("int32_t[]", rotation),
        buffer("int8_t[]", np.ascontiguousarray(llr)),
        buffer("uint8_t[]", np.ascontiguousarray(target)),
        buffer("uint16_t[]", np.ascontiguousarray(phi)),
        buffer("uint8_t[]", np.ascontiguousarray(inverse)),
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
    max_iterations: int,
    patience: int,
    warm_rows: int,
    messages: npt.NDArray[np.int8],
) -> tuple[int, Bytes]:
    posterior = llr.astype(np.int16)
    indices = _row_indices(graph)
    goals = target.reshape(graph.n_rows, graph.z).astype(bool)
    kept = messages.reshape(-1, graph.z)
    kept[graph.row_start[warm_rows] :] = 0
    rows = [kept[a:b] for a, b in zip(graph.row_start, graph.row_start[1:], strict=False)]
    for index, row in zip(indices, rows, strict=True):
        posterior[index] += row
    iterations = stale = 0
    least = np.iinfo(np.int32).max
    while True:
        errors = (posterior < 0).astype(np.uint8)
        if np.array_equal(_numpy_syndrome(graph, errors), target):
            kept.fill(0)
            return iterations, errors
        if iterations >= max_iterations or stale >= patience:
            return -iterations, errors
        unmet = 0
        for row, index, goal in zip(rows, indices, goals, strict=True):
            value = posterior[index] - row
            cost = phi[np.minimum(np.abs(value), LLR_MAX)].astype(np.int32)
            rest = np.minimum(cost.sum(axis=0), SUM_MAX) - cost
            rest = np.where(rest < FINE, rest, FINE + np.minimum(rest // COARSE, FINE - 1))
            negative = value < 0
            wrong = np.bitwise_xor.reduce(negative, axis=0) ^ goal
            unmet += int(np.count_nonzero(wrong))
            size = inverse[rest].astype(np.int16)
            row[:] = np.where(wrong ^ negative, -size, size)
            posterior[index] = value + row
        iterations += 1
        stale = 0 if unmet < least - least // 32 else stale + 1
        least = unmet if stale == 0 else least
