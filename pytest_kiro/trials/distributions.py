"""Distributions that intervals and tests are read from.

All of them but the normal one come from the regularised incomplete beta function (Abramowitz and Stegun, 26.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, prod, sqrt
from statistics import NormalDist

#: Below it a denominator of the continued fraction counts as zero.
_TINY = 1e-300
_PRECISION = 1e-16
#: A step of Newton's that is smaller, relatively, leaves an error of its square.
_LAST_STEP = 1e-9


def normal_quantile(p: float) -> float:
    """Return the quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(p)


def normal_cdf(z: float) -> float:
    """Return the standard normal distribution function."""
    return NormalDist().cdf(z)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return I_x(a, b), the regularised incomplete beta function; a, b > 0.

    By its continued fraction (DLMF 8.17.22) with Lentz's method, which converges fast below the distribution's mean;
    above it, by the symmetry I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    c, d = 1.0, 0.0
    fraction = 1.0
    for step in range(10_000):
        m = step // 2
        if step == 0:
            numerator = 1.0
        elif step % 2 == 0:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / ((1 + numerator * d) or _TINY)
        c = (1 + numerator / c) or _TINY
        fraction *= c * d
        if step and abs(1 - c * d) < _PRECISION:
            break
    return _beta_density(x, a, b) * x * (1 - x) / a * (fraction - 1)


def _beta_density(x: float, a: float, b: float) -> float:
    return exp(lgamma(a + b) - lgamma(a) - lgamma(b) + (a - 1) * log(x) + (b - 1) * log1p(-x))


@lru_cache(maxsize=4096)  # groups of one size ask for the same again
def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with I_x(a, b) = `p`.

    By Newton's steps, halved where one would leave the bracket of the root."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    while low < x < high:
        error = beta_cdf(x, a, b) - p
        low, high = (low, x) if error > 0 else (x, high)
        density = _beta_density(x, a, b)
        better = x - error / density if density else -1.0
        if not low <= better <= high:
            x = (low + high) / 2
        elif abs(better - x) <= _LAST_STEP * x:
            return better
        else:
            x = better
    return x


def student_quantile(p: float, df: float) -> float:
    """Return the quantile of Student's t distribution, for `p` from 0.5."""
    x = beta_quantile(2 * (1 - p), df / 2, 0.5)
    return sqrt(df * (1 - x) / x) if x else inf


def binomial_at_least(passes: int, trials: int, rate: float) -> float:
    """Return P(X >= `passes`) for a binomial X of so many trials."""
    if passes <= 0 or passes > trials:
        return 1.0 if passes <= 0 else 0.0
    return beta_cdf(rate, passes, trials - passes + 1)


def binomial_at_most(passes: int, trials: int, rate: float) -> float:
    """Return P(X <= `passes`) for a binomial X of so many trials."""
    if passes < 0 or passes >= trials:
        return 0.0 if passes < 0 else 1.0
    return beta_cdf(1 - rate, trials - passes, passes + 1)


def binomial_probabilities(trials: int, rate: float) -> list[float]:
    """Return P(X = 0), …, P(X = `trials`) for a binomial X."""
    if rate in (0, 1):
        return [float(passes == trials * rate) for passes in range(trials + 1)]
    whole = lgamma(trials + 1)
    return [
        exp(whole - lgamma(k + 1) - lgamma(trials - k + 1) + k * log(rate) + (trials - k) * log1p(-rate))
        for k in range(trials + 1)
    ]


def product_of_polynomials(factors: Sequence[Sequence[int]]) -> list[int]:
    """Multiply polynomials of non-negative whole coefficients, lowest first; exact.

    By Kronecker's substitution: each becomes one large number, in which every coefficient has as many bytes as the
    product's greatest could need, and Python multiplies numbers fast.

    >>> product_of_polynomials([[1, 1], [1, 1], [1, 2]])
    [1, 4, 5, 2]
    """
    width = prod(sum(factor) for factor in factors).bit_length() // 8 + 1
    whole = prod(
        int.from_bytes(b"".join(coefficient.to_bytes(width, "little") for coefficient in factor), "little")
        for factor in factors
    )
    return coefficients(whole, width, sum(len(factor) - 1 for factor in factors) + 1)


def coefficients(packed: int, width: int, length: int) -> list[int]:
    """Return the coefficients that a number has in slots, lowest first.

    There are `length` slots of `width` bytes.

    >>> coefficients(0x020501, width=1, length=3)
    [1, 5, 2]
    """
    content = packed.to_bytes(width * length, "little")
    return [int.from_bytes(content[start : start + width], "little") for start in range(0, len(content), width)]
