"""The decoder's tables, by what a check that is decoded with them says."""

import numpy as np
import pytest

from qkdd.kernels import ldpc
from qkdd.kernels.ldpc_graph import Graph
from qkdd.reconcile.likelihood import STEPS_PER_NAT, tables

Z = 2048


@pytest.mark.parametrize("width", [3, 5, 15])
def test_a_check_says_what_exact_belief_propagation_says(width: int) -> None:
    """2 atanh(prod tanh(v/2)) of the others, to rounding: of two magnitudes and of what is near.

    The second row asks for the opposite, so that decoding fails and the first one's messages stay.
    """
    rng, table = np.random.default_rng(width), tables()
    places = np.tile(np.arange(width, dtype=np.int32), 2)
    starts = np.array([0, width, 2 * width], np.int32)
    graph = Graph(Z, width, starts, places, np.zeros_like(places))
    llr = rng.integers(20, 80, (width, Z)) * rng.choice([-1, 1], (width, Z))
    messages = ldpc.new_messages(graph)
    passes, _ = ldpc.decode(
        graph,
        llr.ravel().astype(np.int8),
        np.repeat(np.array([0, 1], np.uint8), Z),
        table.phi,
        table.inverse,
        table.near,
        1,
        messages=messages,
    )
    assert passes == -1
    said = messages.reshape(2, width, Z)[0].astype(float)
    half_tanh = np.tanh(llr / STEPS_PER_NAT / 2)
    exact = 2 * np.arctanh(half_tanh.prod(axis=0) / half_tanh) * STEPS_PER_NAT
    beyond = np.sign(exact) * (said - exact)
    assert np.abs(beyond).max() < 4
    assert np.abs(beyond).mean() < 0.5
    assert abs(beyond.mean()) < 0.1
