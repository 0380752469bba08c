"""How large an update, an input or an offset is large."""

LARGE_UPDATE = 0.1
"""‖Δw‖/‖w‖ of one step that moves a tenth of the weights; usual training is near 1e-3 (Bottou; Karpathy 2019)."""

THROWN_UPDATE = 0.5
"""‖Δw‖/‖w‖ of a step that kills units, from which on that is a warning even while the training progresses. Adam's first
step moves each weight by the learning rate: at 1e-3 that is .12 of a layer of 4,600 inputs, and harmless; at 3e-2 .6 of
one of 128."""

UPDATE_SPIKE = 10.0
"""An update this many times its running median is a spike (the factor that definitions use for gradient norms)."""

GRADIENT_SPIKE = 10.0
"""A gradient's norm this many times its running median, at a step whose update is large, exploded (definitions)."""

CARRIED_STEPS = 100
"""Steps after a gradient spike in which momentum may still carry it on: a coefficient of 0.9 forgets in ten of them,
Adam's 0.999 of the second moment in a thousand (our choice: between the two)."""

FROZEN_UPDATE = 1e-6
"""Relative update per step of the first layer below which it does not learn (a thousandth of the usual 1e-3)."""

LARGE_INPUT = 10.0
"""Root mean square of the inputs above which their scale is named as what made the updates of the first layer large:
standardised inputs have 1, pixels from 0 to 1 less (our choice: an order of magnitude)."""

LARGE_OFFSET = 10.0
"""γ = ‖μ‖/‖σ‖ of the inputs above which their mean is named as what makes samples look alike: digits from 0 to 1 have
1.5, standardised inputs 0 (our choice: an order of magnitude)."""

DRIFT_SHARE = 0.5
"""Share of a unit's distance below zero that must have come since the first window to be called drift: less, and the
unit began near where it is (our choice)."""

BEYOND_RANGE = 10.0
"""Size of a bias over what weights and inputs add, from which on the bias is named for units that never fired, or that
were saturated from the start (our choice: an order of magnitude)."""

NARROW_LAYER = 6
"""Units up to which a layer that never fired as a whole is said to be so by its width: with symmetric weights a single
input switches off all of 6 units in 1.6% of draws, of 7 in 0.8% (2^-N; Lu et al. 2019)."""
