"""The printed formulas in 50 digits, written from the papers and not from the package.

Counts and floats go in as they are; everything after is mpmath's.
"""

from mpmath import mp, mpf

DIGITS = 50


class Printed:
    """Formulas for one source: mean photon numbers and probabilities, strongest first."""

    def __init__(self, mus, probabilities) -> None:
        self.mu = [mpf(mu) for mu in mus]
        self.p = [mpf(p) for p in probabilities]

    def tau(self, n: int):
        terms = (p * mp.exp(-m) * m**n for m, p in zip(self.mu, self.p, strict=True))
        return mp.fsum(terms) / mp.factorial(n)

    def scaled(self, counts, bound):
        """n^- and n^+ of the papers, by intensity."""
        spans = [bound(count, sum(counts)) for count in counts]
        factors = [mp.exp(m) / p for m, p in zip(self.mu, self.p, strict=True)]
        return [(f * low, f * high) for f, (low, high) in zip(factors, spans, strict=True)]

    def s0_s1(self, counts, bound):
        """Lim et al. 2014, eq. (2) and (3), clipped."""
        m1, m2, m3 = self.mu
        (_, high1), (low2, high2), (low3, high3) = self.scaled(counts, bound)
        s0 = max(mpf(0), self.tau(0) * (m2 * low3 - m3 * high2) / (m2 - m3))
        top = low2 - high3 - (m2**2 - m3**2) / m1**2 * (high1 - s0 / self.tau(0))
        s1 = self.tau(1) * m1 * top / (m1 * (m2 - m3) - m2**2 + m3**2)
        n = mpf(sum(counts))
        return min(s0, n), min(max(mpf(0), s1), n)

    def v1(self, errors, bound):
        """Lim et al. 2014, eq. (4), clipped."""
        _, (_, high2), (low3, _) = self.scaled(errors, bound)
        return max(mpf(0), self.tau(1) * (high2 - low3) / (self.mu[1] - self.mu[2]))

    def one_decoy_s1(self, counts, errors, epsilon):
        """Rusca et al. 2018, (A16) and (A17), k = mu2, clipped."""
        m1, m2 = self.mu
        bound = hoeffding(epsilon)
        (_, high1), (low2, _) = self.scaled(counts, bound)
        wrong2 = bound(errors[1], sum(errors))[1]
        s0 = self.tau(0) * mp.exp(m2) / self.p[1] * wrong2
        s0 = 2 * (s0 + hoeffding_delta(sum(counts), epsilon))
        top = low2 - (m2 / m1) ** 2 * high1 - (1 - (m2 / m1) ** 2) * s0 / self.tau(0)
        s1 = self.tau(1) * m1 / (m2 * (m1 - m2)) * top
        return min(max(mpf(0), s1), mpf(sum(counts)))


def hoeffding_delta(total: int, epsilon):
    return mp.sqrt(mpf(total) / 2 * mp.log(1 / mpf(epsilon)))


def hoeffding(epsilon):
    def bound(count: int, total: int):
        delta = hoeffding_delta(total, epsilon)
        return max(mpf(0), count - delta), count + delta

    return bound


def chernoff(epsilon):
    """Zhang et al. 2017: both sides of the mean of a count."""
    b = mp.log(1 / mpf(epsilon))

    def bound(count: int, _total: int):
        low = count - b / 2 - mp.sqrt(2 * b * count + b**2 / 4)
        return max(mpf(0), low), count + b + mp.sqrt(2 * b * count + b**2)

    return bound


def entropy(x):
    if x in (0, 1):
        return mpf(0)
    return -(x * mp.log(x) + (1 - x) * mp.log(1 - x)) / mp.log(2)


def log2(x):
    return mp.log(x) / mp.log(2)


def printed_phi(v1, c, d, share):
    """Lim eq. (5): v1 errors in c tests, d others; held at one error, at most 1/2."""
    if c < 1 or d < 1:
        return mpf("0.5")
    b = max(v1, mpf(1)) / c
    if b >= mpf("0.5"):
        return mpf("0.5")
    inside = (c + d) / (c * d * (1 - b) * b * mpf(share) ** 2)
    return min(mpf("0.5"), b + mp.sqrt((c + d) * (1 - b) * b / (c * d * mp.log(2)) * log2(inside)))


def log_tail(x: int, *, n_test: int, n_key: int, n_errors: int):
    """ln of pmf(x)/(1 - r): an upper bound of Pr[at most x of n_errors in the sample]."""

    def log_choose(n: int, k: int):
        return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)

    right = n_test + n_key - n_errors
    pmf = log_choose(n_errors, x) + log_choose(right, n_test - x)
    pmf -= log_choose(n_test + n_key, n_test)
    r = mpf(x) * (right - n_test + x) / ((n_errors - x + 1) * mpf(n_test - x + 1))
    return pmf - mp.log(1 - r)
