"""How long a parameter must stay without gradient or still, and how far its norm may go."""

NEW_PARAMETERS = 10
"""Losses that led to parameters which none before had led to, from which on each forward is said to make them, if they
are half of those read: a model that grows, or the next model of a script, has one such loss (our choice)."""

UNTRAINED_STEPS = 30
"""Training steps over which a parameter must get no gradient, or keep every bit, to be called untrained
(definitions)."""

UNTRAINED_LOOKS = 3
"""Looks at its gradient among them; its bits are compared, too (as many as any other ratio must hold)."""

UNTRAINED_SHARE = 0.10
"""Share of all numbers that could be trained from which on untrained ones are a warning though the training progresses
(definitions)."""

UNSTEPPED_PASSES = 60
"""Backward passes before any step of an optimizer, from which on the step is said to be missing: accumulation over
several dozen batches is usual (our choice)."""

ZERO_RATE = 1e-12
"""Learning rate at or below which nothing moves: float32 resolves 6e-8 of a weight, and Adam moves each by about the
rate (our choice: far below)."""

EXPLAINING_SHARE = 0.5
"""Share of a model's numbers that are not trained, from which on that explains what else is found in the model (our
choice: most of it)."""

SHRUNK_NORM = 1e-2
"""‖w‖ at the end over that at the start, below which a weight has shrunk away: a stack of three such layers passes a
millionth (our choice)."""

GROWN_NORM = 1e2
"""The same above which it has grown without bound (our choice: the inverse)."""

DECAY_SHARE = 0.5
"""Share of ln(‖w‖ first / ‖w‖ last) that decay alone, lr · decay · steps / (1 − momentum), must explain to be named
(our choice)."""

TO_ZERO = 104.0
"""−ln of float32's smallest number, 2⁻¹⁴⁹ (103.3, rounded up): a weight of 1 that shrinks by a factor of exp(104) is
0."""

SURE_STEP = 100.0
"""Ratio of learning rate times gradient to what rounding can hide, both over a whole parameter. Above it, rounding
cannot explain a parameter that never changed (our choice: two orders of magnitude)."""
