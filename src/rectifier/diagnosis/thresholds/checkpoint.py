"""What the optimizer's state in a checkpoint tells of rows."""

SILENT_STEPS = 100
"""Steps that a row must surely have gone without gradient: as many as definitions ask for `starved`."""

USUAL_RATIO = 10.0
"""How far below the median learning row's a row's last |m|/√v may have been (our choice). Of noise it is the same for
every row, √((1 − β₁)/(1 + β₁)), whatever the size of its gradients."""

UNLIKE_GRADIENT = 1e3
"""How many times smaller or larger than the median learning row's a row's last gradients may have been (our choice):
a unit that fires on 0.1% of the samples in batches of 64 has about a twentieth of its neighbours' root mean square,
and a loss that falls takes all gradients with it."""

UNLIKE_MOMENTUM = 100.0
"""The same of momentum, which averages over ten steps instead of a thousand."""

FADING_ERROR = 1e-3
"""By how much the logarithm of a second moment may miss steps · ln β₂ and yet be said to have only faded: a thousandth
of it would then be new (our choice; rounding is reckoned apart)."""

LIVE_SHARE = 0.01
"""Rows with at least this share of the strongest row's moment stand for the learning ones, where one moment is all
there is (our choice)."""

BESIDE_DECAY = 100.0
"""How far above what weight decay explains a second moment must be for decay not to matter: it is then 1% of it."""

LEAST_ROWS = 8
"""Rows of a weight from which on its share of rows that cannot fire may be a warning: one output with negative weights
is nothing unusual (our choice)."""

REACHING_RMS = 1.0
"""Root mean square that a unit's inputs must exceed before it can fire, from which on it is called out of reach:
inputs that are standardised or normalised have 1."""
