"""What led to NaN or infinity."""

HALF_EPSILON = 3e-8
"""Adam's eps below which half precision rounds it to 0: half of the smallest number that float16 holds, 2⁻²⁴."""

NEAR_HALF_OVERFLOW = 6550.4
"""Largest output from which on half precision is named as what overflowed, where nothing else grew: a tenth of the
65,504 that float16 holds; float32 holds 10³⁸ (our choice)."""

RECURRENT_GROWTH = 10.0
"""Mean absolute output of a module's last call within one forward over that of its first, from which on the values are
said to grow over the calls (our choice: an order of magnitude)."""

HUGE_OUTPUT = 1e6
"""Root mean square of the first outputs from which on a loss of them that overflows is laid to the weights, and not to
the loss (our choice): layers with usual weights give about 1."""

LOST_CALLS = 16
"""Uses of one weight in a loss from which on an exact zero before it is laid to them: float32 has nothing left of a
gradient that each of them shrinks to a thousandth (our choice)."""

RECURRENT_CALLS = 3
"""Calls of one module within a forward from which on growth over them can be told (our choice)."""

DIVERGED_LOSS = 10.0
"""Last finite loss over the median of the first ones, from which on the training diverged before it was not finite, and
the loss's own definition is not blamed (our choice)."""

SKIPPED_SHARE = 0.05
"""Share of an optimizer's steps left out by a GradScaler above which it is not at work as meant: it raises the scale
once in 2,000 steps and leaves out one for it."""

MOSTLY_NOT_FINITE = 0.5
"""Share of losses that are not finite above which the finding is a warning even if training progresses: most batches
teach the model nothing (our choice)."""
