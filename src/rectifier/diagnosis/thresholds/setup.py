"""What is wrong around a network: its data, loss, optimizer, precision and learning rate."""

OPEN_GATE = 0.9
"""Mean output of a sigmoid from which on it is an open gate: it multiplies by nearly 1, as an LSTM's forget gate is
meant to at the start (Jozefowicz et al. 2015, section 2.2, a bias of 1 or 2: up to 0.88)."""

IDLE_STEPS = 0.1
"""Share of the steps after which no gradient came to an optimizer that steps on (our choice): in two phases of a
training, each with some of the parameters, both are longer."""

ADAPTER_SHARE = 0.25
"""Share of a model's numbers that are trained up to which the rest is meant to stay: adapters hold some per cent (Hu et
al. 2021, section 4.1), more of a small model (our choice)."""

LEARNED_WELL = 0.9
"""Share of the best constant answer's cost that a model has saved from which on what looks wrong around it did no harm
(our choice)."""

LITTLE_EXPLAINED = 0.5
"""Share of the best constant answer's cost that a model must have saved after 100 steps. With less, a flaw of loss,
data or optimizer becomes an alarm. Little alone is none: a task may be noisy (our choice: half)."""

LEAST_SAVED = 0.02
"""Share of the best constant answer's cost from which on a model that surely saves it has learned something (our
choice): noise may leave no more to be learned."""

SORTED_SHARE = 0.5
"""Entropy of the classes of a batch over that of all, below which batches are sorted. Drawn at random, n rows of C
classes have H - (C - 1)/2n on the average (Miller 1955): with three rows for each class that is above 0.8 H."""

SAME_CLASSES = 0.5
"""What the shares of the classes of a batch have in common with those of the batch before (median), from which on the
order of the data keeps classes together: sorted data have 1 but where a class ends (our choice: half)."""

RESCALED = 1e3
"""Factor between the loss and what it costs by itself, from which on its scale is named (our choice: three orders of
magnitude; the mean of a batch may have been a sum)."""

OTHER_TERMS = 0.5
"""Share of the loss that other terms make, from which on they outweigh the one that has the targets (by definition)."""

LITTLE_MOVEMENT = 0.05
"""Sum of all ‖Δw‖/‖w‖ of a training below which no layer can be far from its initial weights, whatever the direction
of each step: generated trainings of 120 to 400 steps that are well come to .19 and more (our choice: a quarter
of that)."""

BFLOAT16_STEP = 2.0**-8
"""Half of the relative distance between neighbouring numbers of bfloat16, just above a power of two: a smaller change
is rounded away (8 bits of a number are kept)."""

FLOAT16_STEP = 2.0**-11
"""The same of float16, which keeps 11 bits (IEEE 754)."""

FLOAT32_STEP = 2.0**-24
"""The same of float32, which keeps 24 bits (IEEE 754)."""

LARGE_MOMENTUM = 0.995
"""Momentum from which on it may be what makes a training fail: it adds up 200 steps, where the
usual 0.9 adds up ten (our choice). As much is good where it is raised slowly (Sutskever et al. 2013, section 3)."""

SHRUNK_STEP = 0.05
"""Ratio of an SGD step to learning rate times gradient (times 1 / (1 − momentum)). Below it, clipping shrinks the
gradient so much that the learning rate has little effect (our choice: a twentieth; a maximum norm of 1 is usual, and
gradient norms of 10 are common)."""

MOVED_FAR = 1.0
"""Sum of all ‖Δw‖/‖w‖ of a training from which on its steps were no reason to learn little, however small clipping
made them: healthy trainings with a maximum norm far below the gradient's came to 8 and more, a failed one to .1."""

USUAL_EPSILON = 1e-6
"""Adam's `eps` up to which it only keeps a division by 0 away: torch's default is 1e-8, half precision asks for more
(our choice: a hundred times the default)."""

HELD_BACK = 0.1
"""Update of Adam over its learning rate, below which its own state is what makes it small: of noise alone it is
√((1 − β₁)/(1 + β₁)) = .23 of the rate (our choice: below half of that)."""

LARGE_GAIN = 10.0
"""Root mean square of a weight times √fan_in, from which on (or below its inverse) it began on an unusual scale: .58
with torch's default, 1 with LeCun's, 1.41 with He's (our choice: an order of magnitude around 1)."""

WARMING = 0.6
"""Learning rate in the middle of a training over that at its end, below which one that only ever rises is still
warming up: half on a straight line."""

RATE_GONE = 0.01
"""Learning rate in the middle of a training over that at its start, below which one that only ever falls was taken away
too early: a cosine has a half there, one epoch in three at a tenth each a tenth (our choice: below both)."""

DEFAULT_ERRORS = 3.0
"""Standard errors within which the norm of a weight must be that of torch's default initialisation to be taken for it
(99.7% of such draws)."""

SMALL_INPUT = 0.1
"""Root mean square of the inputs below which their scale is named for a model that learned little: the inverse of
`LARGE_INPUT`."""

LEAST_SYMMETRIC = 16
"""Numbers of a weight from which on it is no chance that all have one sign: 2⁻¹⁵ of symmetric draws."""

TARGETS_OUT_OF_REACH = 0.10
"""Share of the targets that the last activation cannot give, from which on that is a warning: fewer may be outliers
(our choice)."""
