"""From which on a unit is dead, rare or dying."""

DEAD_SAMPLES = 3_000
"""Distinct samples on which a unit must be silent to be called dead, unless all data have been shown. The rule of
three (Hanley & Lippman-Hand 1983) then bounds its firing rate at 0.1% with 95% confidence."""

DEAD_TOKENS = 1_000_000
DEAD_SEQUENCES = 1_000
"""A transformer's samples are tokens, and those of one sequence are correlated: both must be reached."""

CONFIDENCE_MISS = 0.05
"""1 − the confidence of the bound 1 − 0.05^(1/n) on the firing rate of a unit that was silent on n samples."""

LARGEST_BOUND = 0.01
"""Bound on the firing rate above which a silent unit is suspected only, also after a pass over all data."""

DORMANT_TAUS = (0.0, 0.025, 0.1)
"""E|h| over the layer's mean at or below which a unit is dormant (Sokar et al. 2023, who act on 0.025 and 0.1)."""

RARE_FRACTION = 0.01
"""A unit that fires on less than 1% of the samples is rare, never dead (SageMaker's DeadRelu calls it dead)."""

LEAST_VISITS = 300
"""Visits before silence says anything: from 299 on the bound on the firing rate is below 1%."""

LARGE_SHARE = 0.10
"""Share of a layer's units below which death is information only: a default 3 × 128 MLP that reaches 97% on digits
has up to 20% of them, and no slope changes its result."""

REMARKABLE_UNITS = 3
"""Units from which on it says something that all of a layer died while the training progresses: one unit in five dies
in healthy networks (see `LARGE_SHARE`), so all of two in 4% of the layers, all of three in 0.8%."""

NEARLY_ALL = 0.95
"""Share of a layer's units that died while it trained, from which on that is a warning even while the training
progresses: what is left is a bottleneck that nobody built (our choice; in healthy networks one unit in five dies, see
`LARGE_SHARE`)."""

SEVERE_SHARE = 0.50
"""Share of a layer's units that is serious when the training makes no progress (DeadRelu's threshold, too)."""

RISING_SHARE = 0.05
"""Growth of the silent share, from the first tenth of the windows to the end, that counts as rising (our choice: half
of what makes a share large)."""

VARYING_FRACTION = 0.10
"""Share of a layer's units that fire on some samples of a window and not on others, below which the layer is said to
see one constant. A constant's sign may flip between two steps of a window, so the limit is not 0 (our choice)."""

TOGETHER_FRACTION = 0.90
"""Share of a layer that fell silent between two observations, from which on the layer died at once (our choice)."""
