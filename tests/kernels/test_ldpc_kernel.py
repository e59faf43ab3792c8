"""Every variant of the LDPC kernel computes what the NumPy twin computes, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdd.kernels import ldpc
from qkdd.kernels.ldpc_graph import Graph, Window

VARIANTS = [name for name in ldpc.backends() if name != "numpy"]


@pytest.fixture(autouse=True)
def _best_backend_again():
    yield
    ldpc.force(None)


def a_graph(rng: np.random.Generator, *, z: int, n_columns: int, n_rows: int) -> Graph:
    """Random circulants: about three in every column, and every row in use."""
    width = max(1, min(n_columns, 3 * n_columns // n_rows))
    columns = [np.sort(rng.choice(n_columns, width, replace=False)) for _ in range(n_rows)]
    return Graph(
        z,
        n_columns,
        (np.arange(n_rows + 1) * width).astype(np.int32),
        np.concatenate(columns).astype(np.int32),
        rng.integers(0, z, n_rows * width).astype(np.int32),
    )


def a_table(rng: np.random.Generator):
    """Tables of the right form: falling, as phi does."""
    most = rng.choice([20, 300, 5_000, 65_536])
    phi = np.sort(rng.integers(0, most, 128))[::-1].astype(np.uint16)
    inverse = rng.integers(0, 255, 256).astype(np.uint8)
    near = rng.integers(0, 256, 32).astype(np.uint8)
    return phi, inverse, near


def a_small_code():
    """A code of 3,072 bits that corrects 0.6 %, and the decoder's tables in twelfths of a nat."""
    rng = np.random.default_rng(2)
    graph = Graph(
        256,
        12,
        np.array([0, 12, 24, 36], np.int32),
        np.tile(np.arange(12, dtype=np.int32), 3),
        rng.integers(0, 256, 36).astype(np.int32),
    )
    x = np.maximum(np.arange(128), 0.25) / 12
    phi = np.rint(-np.log(np.tanh(x / 2)) * 1000).astype(np.uint16)
    sums = np.concatenate([np.maximum(np.arange(128), 0.25), np.arange(128) * 32 + 16]) / 1000
    inverse = np.minimum(np.rint(-np.log(np.tanh(sums / 2)) * 24), 254).astype(np.uint8)
    near = np.rint(np.minimum(-np.log1p(-np.exp(-x[:32])) * 24, 254)).astype(np.uint8)
    return graph, (phi, inverse, near)


def dense(graph: Graph) -> np.ndarray:
    """The parity-check matrix, written out from its definition."""
    matrix = np.zeros((graph.n_checks, graph.n_bits), np.uint8)
    for row in range(graph.n_rows):
        for edge in range(graph.row_start[row], graph.row_start[row + 1]):
            for k in range(graph.z):
                bit = graph.columns[edge] * graph.z + (k + graph.shifts[edge]) % graph.z
                matrix[row * graph.z + k, bit] = 1
    return matrix


@pytest.mark.parametrize("name", ldpc.backends())
def test_syndrome_is_the_matrix_times_the_bits(name: str) -> None:
    rng = np.random.default_rng(1)
    graph = a_graph(rng, z=64, n_columns=9, n_rows=4)
    bits = rng.integers(0, 2, graph.n_bits, np.uint8)
    ldpc.force(name)
    expected = dense(graph).astype(int) @ bits % 2
    assert np.array_equal(expected, ldpc.syndrome(graph, bits))


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    z=st.sampled_from([64, 128, 192, 256]),
    n_columns=st.integers(1, 40),
    n_rows=st.integers(1, 12),
    iterations=st.integers(1, 4),
)
def test_decoder_gives_the_twins_bits_for_any_input(
    name: str, seed: int, z: int, n_columns: int, n_rows: int, iterations: int
) -> None:
    rng = np.random.default_rng(seed)
    graph = a_graph(rng, z=z, n_columns=n_columns, n_rows=n_rows)
    llr = rng.integers(-127, 128, graph.n_bits).astype(np.int8)
    target = rng.integers(0, 2, graph.n_checks, np.uint8)
    phi, inverse, near = a_table(rng)
    warm_rows = int(rng.integers(0, n_rows + 1))
    before = rng.integers(-127, 128, graph.n_messages).astype(np.int8)
    patience = int(rng.integers(1, iterations + 1))
    window = None
    if rng.integers(3):
        order = rng.permutation(n_rows).astype(np.int32)
        ahead, behind = int(rng.integers(1, n_rows + 2)), int(rng.integers(0, n_rows + 2))
        window = Window(ahead, behind, int(rng.choice([0, 0, 10, 50, 1000])), order)
    results = []
    for backend in ("numpy", name):
        ldpc.force(backend)
        messages = ldpc.new_messages(graph)
        messages[:] = before
        found, errors = ldpc.decode(
            graph,
            llr,
            target,
            phi,
            inverse,
            near,
            iterations,
            patience=patience,
            messages=messages,
            warm_rows=warm_rows,
            window=window,
        )
        results.append((found, errors.tolist(), messages.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_window_stops_at_the_check_that_is_one_too_many(name: str) -> None:
    """Bits that are sure, and a few checks that nothing can meet: as many as the slack, or so."""
    rng = np.random.default_rng(8)
    tables = a_table(rng)
    for _ in range(40):
        graph = a_graph(rng, z=64, n_columns=30, n_rows=12)
        target = np.zeros(graph.n_checks, np.uint8)
        target[rng.choice(graph.n_checks, rng.integers(1, 6), replace=False)] = 1
        llr = np.full(graph.n_bits, 127, np.int8)
        order = np.arange(graph.n_rows, dtype=np.int32)
        window = Window(int(rng.integers(2, 6)), 1, int(rng.integers(0, 4)), order)
        results = []
        for backend in ("numpy", name):
            ldpc.force(backend)
            messages = ldpc.new_messages(graph)
            found, _ = ldpc.decode(
                graph, llr, target, *tables, 5, patience=9, messages=messages, window=window
            )
            results.append((found, messages.tolist()))
        assert results[0] == results[1]


@pytest.mark.parametrize("name", ldpc.backends())
def test_two_short_runs_with_the_messages_kept_are_one_long_run(name: str) -> None:
    rng = np.random.default_rng(6)
    graph = a_graph(rng, z=64, n_columns=20, n_rows=8)
    target = rng.integers(0, 2, graph.n_checks, np.uint8)
    llr = np.full(graph.n_bits, 30, np.int8)
    tables = a_table(rng)
    ldpc.force(name)
    messages = ldpc.new_messages(graph)
    assert ldpc.decode(graph, llr, target, *tables, 2, messages=messages)[0] == -2
    after = ldpc.decode(graph, llr, target, *tables, 3, messages=messages, warm_rows=8)
    whole = ldpc.decode(graph, llr, target, *tables, 5)
    assert (after[0], whole[0]) == (-3, -5)
    assert np.array_equal(after[1], whole[1])


@pytest.mark.parametrize("name", ldpc.backends())
def test_a_hopeless_decode_stops_when_its_patience_ends(name: str) -> None:
    graph, tables = a_small_code()
    rng = np.random.default_rng(7)
    target = rng.integers(0, 2, graph.n_checks, np.uint8)  # half the checks: far too many errors
    llr = np.full(graph.n_bits, 55, np.int8)
    ldpc.force(name)
    assert -20 < ldpc.decode(graph, llr, target, *tables, 1000, patience=3)[0] <= -3
    assert ldpc.decode(graph, llr, target, *tables, 30)[0] == -30


@pytest.mark.parametrize("name", ldpc.backends())
def test_a_success_leaves_no_messages(name: str) -> None:
    graph, tables = a_small_code()
    errors = (np.random.default_rng(8).random(graph.n_bits) < 0.006).astype(np.uint8)
    llr = np.full(graph.n_bits, 55, np.int8)
    ldpc.force(name)
    messages = ldpc.new_messages(graph)
    messages.fill(1)
    target = ldpc.syndrome(graph, errors)
    assert ldpc.decode(graph, llr, target, *tables, 30, messages=messages)[0] > 0
    assert not messages.any()


@pytest.mark.parametrize("name", ldpc.backends())
def test_a_success_meets_the_syndrome_exactly_and_finds_the_errors(name: str) -> None:
    graph, tables = a_small_code()
    errors = (np.random.default_rng(2).random(graph.n_bits) < 0.006).astype(np.uint8)
    ldpc.force(name)
    target = ldpc.syndrome(graph, errors)
    llr = np.full(graph.n_bits, 55, np.int8)
    iterations, found = ldpc.decode(graph, llr, target, *tables, 30)
    assert 0 < iterations <= 30
    assert np.array_equal(errors, found)


def a_band() -> Graph:
    """60 rows over 241 columns of weight 3, whose band begins narrow and moves along."""
    rng = np.random.default_rng(9)
    rows: list[list[int]] = [[] for _ in range(60)]
    for column in range(241):
        at = column * 57 / 240
        for row in {max(0, round(at + part)) for part in (-2, 0, 2)}:
            rows[row].append(column)
    starts = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int32)
    columns = np.array([column for row in rows for column in row], np.int32)
    shifts = rng.integers(0, 256, columns.size).astype(np.int32)
    return Graph(256, 241, starts, columns, shifts)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_window_finds_the_errors_of_a_band_though_it_leaves_checks_behind(name: str) -> None:
    graph, (_, tables) = a_band(), a_small_code()
    errors = (np.random.default_rng(2).random(graph.n_bits) < 0.025).astype(np.uint8)
    llr = np.full(graph.n_bits, 44, np.int8)
    ldpc.force(name)
    target = ldpc.syndrome(graph, errors)
    window = Window(20, 5, 50, np.arange(60, dtype=np.int32))
    passes, found = ldpc.decode(graph, llr, target, *tables, 100, patience=40, window=window)
    assert passes > 0
    assert np.array_equal(errors, found)


@pytest.mark.parametrize("name", ldpc.backends())
def test_no_errors_take_no_pass(name: str) -> None:
    rng = np.random.default_rng(3)
    graph = a_graph(rng, z=64, n_columns=8, n_rows=3)
    ldpc.force(name)
    zeros = np.zeros(graph.n_checks, np.uint8)
    llr = np.full(graph.n_bits, 20, np.int8)
    iterations, found = ldpc.decode(graph, llr, zeros, *a_table(rng), 5)
    assert iterations == 0
    assert not found.any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": 96}, "multiple of 64"),
        ({"columns": np.array([0, 0, 1], np.int32)}, "twice"),
        ({"columns": np.array([0, 9, 1], np.int32)}, "column is outside"),
        ({"shifts": np.array([0, 64, 1], np.int32)}, "shift is outside"),
        ({"row_start": np.array([0, 2, 2, 3], np.int32)}, "has 0 circulants"),
        ({"row_start": np.array([0, 2], np.int32)}, "do not fit"),
    ],
)
def test_a_malformed_graph_never_reaches_the_kernel(change: dict, words: str) -> None:
    parts = {
        "z": 64,
        "n_columns": 2,
        "row_start": np.array([0, 2, 3], np.int32),
        "columns": np.array([0, 1, 1], np.int32),
        "shifts": np.array([5, 0, 1], np.int32),
    }
    Graph(**parts)
    with pytest.raises(ValueError, match=words):
        Graph(**(parts | change))


def test_arrays_of_the_wrong_size_never_reach_the_kernel() -> None:
    rng = np.random.default_rng(4)
    graph = a_graph(rng, z=64, n_columns=4, n_rows=2)
    phi, inverse, near = a_table(rng)
    llr = np.zeros(graph.n_bits, np.int8)
    target = np.zeros(graph.n_checks, np.uint8)
    with pytest.raises(ValueError, match="expected"):
        ldpc.syndrome(graph, llr[1:].view(np.uint8))
    for wrong in (
        (llr[1:], target, phi, inverse, near),
        (llr, target[1:], phi, inverse, near),
        (llr, target, phi[1:], inverse, near),
        (llr, target, phi, inverse[1:], near),
        (llr, target, phi, inverse, near[1:]),
        (llr, target, phi, inverse | np.uint8(255), near),
    ):
        with pytest.raises(ValueError, match="expected"):
            ldpc.decode(graph, *wrong, 3)
    right = (llr, target, phi, inverse, near, 3)
    straight = np.arange(2, dtype=np.int32)
    for options, words in (
        ({"window": Window(1, 0, 0, straight[:1])}, "the order is none of 2 rows"),
        ({"window": Window(1, 0, 0, np.array([0, 2], np.int32))}, "the order is none of 2 rows"),
        ({"window": Window(1, 0, 0, np.array([1, 1], np.int32))}, "the order is none of 2 rows"),
        ({"window": Window(1, 0, 0, straight.astype(np.int64))}, "the order is none of 2 rows"),
        ({"window": Window(0, 0, 0, straight)}, "a window of 0 ahead"),
        ({"window": Window(1, -1, 0, straight)}, "-1 behind"),
        ({"window": Window(1, 0, -1, straight)}, "slack -1"),
        ({"messages": ldpc.new_messages(graph)[1:]}, "expected"),
        ({"messages": np.zeros(2 * graph.n_messages, np.int8)[::2]}, "not contiguous"),
        ({"messages": ldpc.new_messages(graph), "warm_rows": 3}, "do not have messages"),
        ({"warm_rows": 1}, "do not have messages"),
        ({"patience": 0}, "patience 0 is below 1"),
    ):
        with pytest.raises(ValueError, match=words):
            ldpc.decode(graph, *right, **options)


def test_an_unknown_backend_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="sparc"):
        ldpc.force("sparc")
