"""What counts as progress of the loss."""

PLATEAU_FRACTION = 0.05
"""A loss that has fallen by less than this from where it began makes no progress."""

LEAST_LOSSES = 20
"""Optimizer steps before the loss is asked for progress."""

CONVERGED_NOISE = 0.25
"""Median absolute deviation of the last losses over their median, above which a flat curve is not said to lack
progress: a converged classifier's batches differ by half (measured on digits: .36 to .39), a stalled one's by a few
percent, squared errors in batches of 16 by .24 (√(2/16)/1.48)."""

STALLED_STEPS = 100
"""Optimizer steps before a loss that does not fall makes an alarm of what alone is none: a gradient that grows,
samples that look alike. Many a network begins with a flat stretch (our choice)."""

NOISE_ERRORS = 2.0
"""Standard errors by which two medians must differ to be told apart: about 95% confidence."""
