"""From errors in a random test sample to errors in the rest: the phase error rate.

The single-photon detections of both bases are one population; which of them fell into the test
basis is a uniformly random choice of that many (this is where basis-independent detection is
needed). Seeing few errors in the sample bounds the errors in the rest.
"""

import math

LGAMMA_ULPS = 16
"""Allowance for the error of math.lgamma, in units of 2^-52 of each value; its own claim is
smaller, and 16 of them move a bound by less than 1e-6 of a bit."""


def binary_entropy(x: float) -> float:
    """Shannon entropy h(x) in bits of a coin with probability x, 0 <= x <= 1."""
    if not 0.0 <= x <= 1.0:
        raise ValueError(f"{x} is not a probability")
    if x in (0.0, 1.0):
        return 0.0
    return -x * math.log2(x) - (1.0 - x) * math.log2(1.0 - x)


def printed_gamma(b: float, n_test: float, n_key: float, a: float) -> float:
    """Sampling deviation as printed in Lim 2014 and Rusca 2018: phi <= b + gamma.

    Parameters
    ----------
    b : float
        Error fraction of the sample, in (0, 1); below one error in the sample it is not used as
        it is, see Notes.
    n_test, n_key : float
        Single-photon detections in the sample and outside it, positive.
    a : float
        Its share of epsilon (eps_sec/21 or eps_sec/19), squared inside.

    Notes
    -----
    Known to be approximate: it tends to 0 with b, so that no observed error would "prove" no
    phase error at all. Callers hold b at one error in the sample or more.
    Source: Lim et al. 2014, eq. (5) and (B2); Fung, Ma, Chau, PRA 81, 012318 (2010).
    """
    c, d = n_test, n_key
    spread = (1.0 - b) * b
    argument = (c + d) / (c * d * spread) / (a * a)
    return math.sqrt((c + d) * spread / (c * d * math.log(2.0)) * math.log2(argument))


def log_tail(x: int, *, n_test: int, n_key: int, n_errors: int) -> float:
    """Upper bound of ln Pr[at most x errors in the sample], 0 where the bound says nothing.

    The sample is ``n_test`` of ``n_test + n_key``, of which ``n_errors`` are wrong. The tail is
    at most pmf(x)/(1 - r), r = pmf(x-1)/pmf(x), because the ratios only fall further below x.
    """
    population = n_test + n_key
    right = population - n_errors
    if x < n_test - right:  # so few are impossible
        return -math.inf
    if x >= min(n_errors, n_test):
        return 0.0
    # 1 - r as a fraction of whole numbers: nothing cancels where r is near 1.
    whole = (n_errors - x + 1) * (n_test - x + 1)
    rest = whole - x * (right - n_test + x)
    if rest <= 0:
        return 0.0
    over = (n_errors, right, n_test, n_key)
    under = (x, n_errors - x, n_test - x, right - n_test + x, population)
    up = [math.lgamma(value + 1.0) for value in over]
    down = [math.lgamma(value + 1.0) for value in under]
    doubt = LGAMMA_ULPS * 2.0**-52 * (math.fsum(up) + math.fsum(down) + 1.0)
    log_pmf = math.fsum(up) - math.fsum(down)
    return min(0.0, log_pmf - math.log(rest / whole) + doubt)


def errors_outside(x: int, *, n_test: int, n_key: int, epsilon: float) -> int:
    """Upper bound of the errors outside a random sample that shows x errors.

    Exact inversion of the hypergeometric tail: the smallest y, as far as bisection finds it, for
    which seeing x errors or fewer among ``n_test`` has probability at most ``epsilon`` if the
    ``n_key`` others hold y. Fails with probability at most ``epsilon``; ``n_key`` (all of them)
    where nothing can be said. About 50 us at any size.

    Notes
    -----
    Any y that satisfies the condition is a valid answer, since the true tail falls with y; only
    its tightness rests on the search.
    """
    if not (0 <= x <= n_test and n_key >= 0 and 0.0 < epsilon < 1.0):
        raise ValueError(f"{x} errors in {n_test}, {n_key} outside, epsilon {epsilon}")
    limit = math.log(epsilon) * (1.0 + 2.0**-50)

    def excluded(y: int) -> bool:
        return log_tail(x, n_test=n_test, n_key=n_key, n_errors=x + y) <= limit

    if not excluded(n_key):
        return n_key
    low, high = -1, n_key  # not excluded, excluded
    while high - low > 1:
        middle = (low + high) // 2
        if excluded(middle):
            high = middle
        else:
            low = middle
    return high


def error_rate_outside(x: int, *, n_test: int, n_key: int, epsilon: float) -> float:
    """Upper bound of the error rate outside the sample, for lower bounds of both numbers.

    True for every sample of at least ``n_test`` with at most ``x`` errors, and at least ``n_key``
    others; fails with probability at most ``epsilon``.

    Notes
    -----
    Let N_test, N_key be the true numbers, and y the errors among the N_key. Draw n_test of the
    sample and n_key of the others by lot (in thought only). The drawn ones are again a random
    sample of a population, so that more than Y = errors_outside(x, epsilon/2) errors are among
    the n_key drawn with probability at most epsilon/2. Should y/N_key be (Y + 1)/n_key or more, the
    lot draws at least the whole part of its mean, Y + 1, with probability at least 1/2, because
    the median of a hypergeometric number is its mean rounded up or down (Siegel, J. Algorithms 38,
    184 (2001), doi:10.1006/jagm.2000.1103). So y/N_key >= (Y + 1)/n_key happens with probability at
    most epsilon.
    """
    outside = errors_outside(x, n_test=n_test, n_key=n_key, epsilon=epsilon / 2.0)
    return (outside + 1) / n_key
