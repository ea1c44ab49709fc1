"""Elementary functions in float32 that the compiler vectorises, which it cannot do with the C library's.

Source: the polynomials of the Cephes library (S. Moshier), single precision; about one unit in
the last place.
"""

from typing import Any

import numpy as np

from mrecg.quant.kernels.jit import inline

F = np.float32
LEAST = F(1e-30)
"""The smallest number that powers are taken of."""
_MANTISSA = np.int32(23)
_HALF_SQRT_TWO = np.int32(0x3F3504F3)


@inline
def exp(x: Any) -> Any:
    """e^x; x is clipped to [-87, 88]."""
    x = min(max(x, F(-87)), F(88))
    n = np.rint(x * F(1.44269504))
    r = x - n * F(0.693359375)
    r = r - n * F(-2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * r * r + r + F(1)
    return p * np.int32((np.int32(n) + np.int32(127)) << _MANTISSA).view(np.float32)


@inline
def log(x: Any) -> Any:
    """Natural logarithm of a positive, normal x."""
    bits = np.float32(x).view(np.int32)
    # Numba widens sums of 32-bit integers, and half as many fit into a vector then.
    e = np.int32(np.int32(bits - _HALF_SQRT_TWO) >> _MANTISSA)
    m = np.int32(bits - np.int32(e << _MANTISSA)).view(np.float32) - F(1)
    p = F(7.0376836292e-2)
    p = p * m + F(-1.1514610310e-1)
    p = p * m + F(1.1676998740e-1)
    p = p * m + F(-1.2420140846e-1)
    p = p * m + F(1.4249322787e-1)
    p = p * m + F(-1.6668057665e-1)
    p = p * m + F(2.0000714765e-1)
    p = p * m + F(-2.4999993993e-1)
    p = p * m + F(3.3333331174e-1)
    z = m * m
    return F(e) * F(0.69314718) + (m * z * p - F(0.5) * z + m)


@inline
def power(x: Any, exponent: Any) -> Any:
    """x^exponent for x >= 0; what is below `LEAST` counts as that."""
    return exp(exponent * log(max(x, LEAST)))
