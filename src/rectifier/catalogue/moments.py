"""E[f(z)²] for z ~ N(0, 1): in closed form where there is one, by quadrature where there is none."""

import math
from collections.abc import Callable

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
RRELU_SLOPE = (1 / 8 + 1 / 3) / 2


def density(z: float) -> float:
    """φ(z)."""
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def upper(z: float) -> float:
    """P(Z > z)."""
    return math.erfc(z / math.sqrt(2)) / 2


def constant(value: float) -> Callable[[float], float]:
    """For a row whose second moment does not depend on a parameter, or was integrated once to 17 digits."""
    return lambda _: value


def exponential_side(rate: float) -> float:
    """E[(exp(rate·z) − 1)²; z < 0], by completing the square; erfcx keeps e^(2·rate²)·Φ(−2·rate) finite."""
    from scipy.special import erfcx  # noqa: PLC0415 - most readers of the table never need scipy

    def tilted(factor: float) -> float:
        return float(erfcx(factor / math.sqrt(2))) / 2

    return tilted(2 * rate) - 2 * tilted(rate) + 0.5


def softplus_moment(beta: float) -> float:
    """E[(log(1 + exp(βz))/β)²] by the trapezoid rule: geometric convergence, f is analytic."""
    step, reach = 1 / 64, 13 * 64
    points = (k * step for k in range(-reach, reach + 1))
    total = math.fsum(density(z) * (softplus(beta * z) / beta) ** 2 for z in points)
    return total * step


def softplus(z: float) -> float:
    """log(1 + exp(z)) without overflow."""
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def even_moments(limit: float) -> tuple[float, float, float]:
    """∫ z^k φ(z) dz over [−limit, limit] for k = 0, 2, 4."""
    zeroth = math.erf(limit / math.sqrt(2))
    second = zeroth - 2 * limit * density(limit)
    return zeroth, second, 3 * second - 2 * limit**3 * density(limit)


def hard_sigmoid_moment(_: float) -> float:
    """Integrate piecewise; the odd terms vanish."""
    zeroth, second, _fourth = even_moments(3)
    return second / 36 + zeroth / 4 + upper(3)


def hard_swish_moment(_: float) -> float:
    """Integrate piecewise; the odd terms vanish."""
    _zeroth, second, fourth = even_moments(3)
    return fourth / 36 + second / 4 + 3 * density(3) + upper(3)


def leaky_moment(slope: float) -> float:
    """He et al. 2015, equation 14, halved for both signs."""
    return (1 + slope**2) / 2


def threshold_moment(threshold: float) -> float:
    """E[Z²; Z > threshold]."""
    return threshold * density(threshold) + upper(threshold)


def hard_shrink_moment(width: float) -> float:
    """E[Z²; |Z| > width]; a negative width cuts nothing."""
    return 2 * threshold_moment(max(width, 0.0))


def soft_shrink_moment(width: float) -> float:
    """E[(|Z| − width)²; |Z| > width]."""
    return 2 * ((1 + width**2) * upper(width) - width * density(width))
