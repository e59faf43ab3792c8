"""Rusca 2018 against its machine-checked example.

Golden vector: the worked example of the formal (Lean, interval arithmetic) text of the paper by
A. Baliuka: raw length 1464719.0887320058, secret key length 1464719.
"""

from qkdd.amplify.decoy import Source
from qkdd.amplify.rusca2018 import rusca_2018

EXAMPLE = {
    "key": (8_875_913, 1_124_087),
    "key_errors": (185_856, 26_055),
    "test": (165_048, 20_902),
    "test_errors": (3_456, 484),
    "source": Source((0.51, 0.15), (0.7, 0.3)),
    "disclosed_bits": 1_776_924,
    "eps_sec": 1e-9,
    "eps_cor": 1e-15,
}


def test_the_machine_checked_example_is_met_to_the_last_digit() -> None:
    assert rusca_2018(**EXAMPLE).raw_bits == 1464719.0887320058


def test_the_intermediates_agree_with_sixty_digit_arithmetic() -> None:
    """Recomputed from the printed formulas with decimal, 60 digits."""
    estimate = rusca_2018(**EXAMPLE)
    assert abs(estimate.s1 - 5396516.268816284971) < 1e-7
    assert abs(estimate.s1_test - 76462.27554857586867) < 1e-9
    assert abs(estimate.v1_test - 5411.812583855381045) < 1e-10
    assert abs(estimate.phi - 0.07917365937798952465) < 1e-16
    assert estimate.s0 == 0.0


def test_every_error_and_every_leaked_bit_costs_key() -> None:
    base = rusca_2018(**EXAMPLE).raw_bits
    for changed in (
        {"key_errors": (185_856, 26_056)},
        {"test_errors": (3_457, 484)},
        {"disclosed_bits": 1_776_925},
        {"eps_sec": 0.5e-9},
    ):
        assert rusca_2018(**EXAMPLE | changed).raw_bits < base
