"""How an output collapses, and how a loss compares with the best constant answer."""

LEAST_OUTPUT_ROWS = 8
"""Rows of a batch from which on its spread between them is asked: of fewer it is mostly chance (our choice; the
variance of 8 rows is known to within 53%, √(2/7))."""

ALIKE_SHARE = 0.1
"""Share of what told targets apart at first, over their size, below which they became alike and not only small (our
choice)."""

COLLAPSED_SHARE = 0.01
"""Spread of an output between rows, over what it was or over the targets', below which it has collapsed
(definitions)."""

ROUNDING_SHARE = 1e-12
"""Spread over mean square below which rows differ by rounding alone: float32 has an eps of 1.2e-7, squared 1.4e-14, and
a layer adds up some numbers (our choice)."""

COLLAPSED_LOGITS = 0.01
"""Spread of logits between rows below which they give every row nearly the same shares: a tenth of a nat (our choice).
Logits that began too large may shrink to a hundredth and tell classes apart better than before."""

LEAST_ENTROPY = 0.2
"""Entropy of the classes of a batch, in nats, below which a constant is nearly the right answer: two classes of 95 and
5% have .199 (our choice)."""

GROWING_SPREAD = 2.0
"""Factor by which an output that was small from the start must have grown to be said to be on its way (our choice)."""

OPTIMUM_REACHED = 0.05
"""Share of the loss at the start below which it is said to have reached its optimum, where no targets are kept: the
variance of targets that a constant leaves is a larger share of what an untrained network costs (our choice)."""

SMALL_UPDATE = 1e-5
"""‖Δw‖/‖w‖ a step (median) below which weights hardly move: a hundredth of the usual 1e-3 (Bottou; Karpathy 2019). A
hundred thousand such steps move them once by their own size, if all go one way."""

SHRUNK_WEIGHTS = 0.5
"""Norm of the weights over that at the start below which decay is asked whether it moved them (our choice)."""

LEAST_PER_CLASS = 3.0
"""Rows of a batch for each class in it, below which the entropy of their shares is not held against a loss: it is that
of the batch, and far below that of the data (our choice: 32 rows of ten classes have 3.2; of words, a batch has hardly
two each)."""

MOVING_TARGETS = 2.0
"""Mean square of the targets at the end over that at the beginning, or the other way round, from which on they are said
to move with the training, as those of Q-learning do (our choice)."""

WORSE_THAN_CONSTANT = 2.0
"""A loss this many times what the best constant answer costs, after 100 steps, from which on a model is worse than a
constant (our choice: noise of single batches stays well below)."""

LARGE_FIRST_LOSS = 10.0
"""The first losses over what the best constant answer costs, from which on the initial weights are named: outputs of
usual initial weights are near 0, and cost little more than the best constant (our choice: an order of magnitude)."""
