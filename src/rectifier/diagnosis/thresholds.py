"""Every threshold of the diagnosis, each beside its source. Nothing else in the package decides good or bad."""

# Dead ---------------------------------------------------------------------------------------------------------------

DEAD_SAMPLES = 3_000
"""Distinct samples on which a unit must be silent to be called dead, unless all data have been shown. The rule of three
(Hanley & Lippman-Hand 1983) then bounds its firing rate at 0.1 % with 95 % confidence."""

DEAD_TOKENS = 1_000_000
DEAD_SEQUENCES = 1_000
"""A transformer's samples are tokens, and those of one sequence are correlated: both must be reached."""

CONFIDENCE_MISS = 0.05
"""1 − the confidence of the bound 1 − 0.05^(1/n) on the firing rate of a unit that was silent on n samples."""

RARE_FRACTION = 0.01
"""A unit that fires on less than 1 % of the samples is rare, never dead (SageMaker Debugger's DeadRelu calls it dead)."""

LEAST_VISITS = 300
"""Visits before silence says anything: at 299 the bound on the firing rate falls below 1 %."""

LARGE_SHARE = 0.10
"""Share of a layer's units below which death is information only: a default 3 × 128 MLP that reaches 97 % on digits
has up to 20 % of them, and no slope changes its result."""

SEVERE_SHARE = 0.50
RISING_SHARE = 0.05
"""Growth of the dead share, from the first tenth of what was observed to its end, that counts as rising."""

# Updates ------------------------------------------------------------------------------------------------------------

LARGE_UPDATE = 0.1
"""‖Δw‖/‖w‖ of one step that moves a tenth of the weights; usual training is near 1e-3 (Bottou; Karpathy 2019)."""

UPDATE_SPIKE = 10.0
"""An update this many times its running median is a spike."""

FROZEN_UPDATE = 1e-6
"""Relative update per step of the first layer below which it does not learn."""

# Gradients ----------------------------------------------------------------------------------------------------------

VANISHED_RATIO = 1e-3
"""‖δ‖ of the first site over the last (AUTOTRAINER, Zhang et al. 2021, uses the same ratio on weight gradients)."""

EXPLODED_RATIO = 70.0
"""‖δ‖ of the first site over the last (AUTOTRAINER's threshold)."""

LEAST_OBSERVATIONS = 3
"""Observed steps on which a ratio must hold; one step proves nothing."""

SHRINKING_FACTOR = 0.7
"""Factor per layer below which the gradient is said to shrink; √½ is what a ReLU layer of unit-variance weights has."""

# Progress -----------------------------------------------------------------------------------------------------------

PLATEAU_FRACTION = 0.05
"""A loss that has fallen by less than this from where it began makes no progress."""

LEAST_LOSSES = 20
"""Optimizer steps before the loss is asked for progress."""
