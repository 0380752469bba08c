"""One activation as a row of facts."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Activation:
    """One activation function: its formula in words, and the facts that rules need.

    Every fact holds at the default parameter; `Choice` answers for another one.

    Attributes:
        name: The name used everywhere in Rectifier, `leaky_relu`.
        formula: f(z) as text.
        derivative: f′(z) as text, with the value that torch takes where f has a kink.
        flat: Where f′(z) is exactly 0, in words.
        flat_below: f′(z) = 0 for every z ≤ flat_below; None when the left side always passes a
            gradient. Exact arithmetic is meant: an exponential tail that underflows (ELU below about −104 in
            float32) is not flat.
        value_at_zero: f(0).
        signed: f takes negative values.
        smooth: f′ exists and is continuous everywhere (once; ELU's f″ jumps and ELU counts as smooth).
        monotone: f never decreases.
        parameter: The name of the one parameter that can be chosen, in torch's words; None when it has none.
        default: Its default.
        module: The class in `torch.nn` that computes nothing else; None when torch has none. (`identity` is None:
            `torch.nn.Identity` stands in models for any absent layer.)
        function: The function in `torch.nn.functional`; None when torch has none.
        paper: Where it was introduced.
        aliases: Other names, those of Hugging Face among them. Case, `_` and `-` never matter.
    """

    name: str
    formula: str
    derivative: str
    flat: str
    flat_below: float | None
    value_at_zero: float
    signed: bool
    smooth: bool
    monotone: bool
    parameter: str | None
    default: float | None
    module: str | None
    function: str | None
    paper: str
    aliases: tuple[str, ...] = ()
    _second_moment: Callable[[float], float] = field(default=lambda _: 1.0, repr=False, compare=False)

    def gain(self, parameter: float | None = None) -> float:
        """Give the factor that keeps the mean square of the signal over one layer.

        Warning:
            This is 1/√E[f(z)²] for z ~ N(0, 1), one definition for all. It equals `torch.nn.init.calculate_gain` for
            relu and leaky_relu only; torch's 5/3 for tanh, 1 for sigmoid and 3/4 for selu are conventions of other
            kinds (this one: 1.593, 1.846, 1). RReLU is taken at its evaluation slope.

        Args:
            parameter: Slope, alpha, …; the default of the row when None.

        Returns:
            The gain g of a weight standard deviation g/√fan_in, without unit.

        Example:
            >>> from rectifier.catalogue import CATALOGUE
            >>> round(CATALOGUE["leaky_relu"].gain(0.2), 4)
            1.3868

        Source: He et al. 2015, arXiv:1502.01852, section 2.2.
        """
        chosen = self.default if parameter is None else parameter
        moment = self._second_moment(math.nan if chosen is None else chosen)
        return 1 / math.sqrt(moment) if moment > 0 else math.inf
