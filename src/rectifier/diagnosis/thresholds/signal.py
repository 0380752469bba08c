"""How far a gradient or a signal may grow or shrink, in training and before it."""

VANISHED_RATIO = 1e-3
"""‖δ‖ of the first site over the last (AUTOTRAINER, Zhang et al. 2021, uses the same ratio on weight gradients)."""

MOST_OF_THE_WAY = 0.5
"""Share of a vanished gradient's orders of magnitude that the first observed steps must have lost already for the
initialisation to be named (our choice)."""

EXPLODED_RATIO = 70.0
"""‖δ‖ of the first site over the last (AUTOTRAINER's threshold)."""

LEAST_OBSERVATIONS = 3
"""Observed steps on which a ratio must hold; one step proves nothing."""

SHRINKING_FACTOR = 0.7
"""Factor per layer below which the gradient is said to shrink; √½ is what a ReLU layer of unit-variance weights has."""

SCALER_SKIPS = 10
"""Observed steps with an infinite gradient that are normal: a GradScaler begins too high and skips such steps."""


POOR_SENSITIVITY = 1e-3
"""Share of the differences between samples, and of the gradient, below which (or above its inverse) both ways together
are a poor initialisation: the same three orders of magnitude as a vanished gradient."""

SEVERAL_LAYERS = 5
POOR_FACTOR = 0.3
LARGE_FACTOR = 3.0
"""Layers, and factors per layer, from which on signal or gradient are poor where nothing is learned (definitions).
torch.nn.Linear's default initialisation gives 0.41 per ReLU layer."""

SIMILAR = 0.99
"""Mean cosine between two samples above which they look alike; alone it is information, because 6 default layers of 128
on digits have .999 and train well."""

LAYERS_THAT_MAKE_ALIKE = 3
"""Fewest activations for which initialisation and depth are named as the cause of samples that look alike from the
start: two layers with usual weights keep more than half of the differences between samples (the cosine map of ReLU
networks, Cho & Saul 2009)."""

CONSTANT_VARIANCE = 1e-6
"""Variance of the output between samples over its mean square, below which it hardly varies: by a thousandth."""
