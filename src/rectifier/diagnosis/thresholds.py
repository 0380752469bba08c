"""Every threshold of the diagnosis, each beside its source. Nothing else in the package decides good or bad."""

# Dead ---------------------------------------------------------------------------------------------------------------

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

# Updates ------------------------------------------------------------------------------------------------------------

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
"""Size of a bias over what weights and inputs add, from which on the bias is named for units that never fired (our
choice: an order of magnitude)."""

NARROW_LAYER = 6
"""Units up to which a layer that never fired as a whole is said to be so by its width: with symmetric weights a single
input switches off all of 6 units in 1.6% of draws, of 7 in 0.8% (2^-N; Lu et al. 2019)."""

# Not taught, or on one side -------------------------------------------------------------------------------------------

STARVED_STEPS = 100
"""Training steps that a gradient of exactly 0 must last before a unit that fires is starved: losses cancel, heads begin
at zero and margins are satisfied for a while."""

STARVED_OBSERVATIONS = 20
"""Counted steps among them; the others were not looked at (our choice)."""

SATURATED_SAMPLES = 0.99
"""Share of the samples on which |f′(z)| is below 1% of its maximum (tanh |z| ≥ 3.0, sigmoid |z| ≥ 6.0)."""

SATURATED_SHARE = 0.50
"""Share of a layer's units above which it is called saturated."""

SATURATED_PAIR_SHARE = 0.80
SATURATED_PAIRS = 1_000
"""Share of (sample, unit) pairs that are saturated, above which a layer is, and how many pairs that must rest on
(definitions)."""

LINEAR_SHARE = 0.99
"""Share of a layer's units that are off on all samples, or on on all, from which on the layer is linear
(definitions)."""

LEAST_UNITS = 8
"""Units below which a layer is called linear only where all of them are (our choice: of 7 units one is 14%)."""

# Gradients ----------------------------------------------------------------------------------------------------------

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

# Before training ------------------------------------------------------------------------------------------------------

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

CONSTANT_VARIANCE = 1e-6
"""Variance of the output between samples over its mean square, below which it hardly varies: by a thousandth."""

# Progress -----------------------------------------------------------------------------------------------------------

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

# Inspection ---------------------------------------------------------------------------------------------------------

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

# Parameters -----------------------------------------------------------------------------------------------------------

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
"""Share of the orders of magnitude lost that decay alone, exp(−lr · decay · steps), must explain to be named (our
choice)."""

# Where it was first not finite ----------------------------------------------------------------------------------------

HALF_EPSILON = 3e-8
"""Adam's eps below which half precision rounds it to 0: half of the smallest number that float16 holds, 2⁻²⁴."""

NEAR_HALF_OVERFLOW = 6550.4
"""Largest output from which on half precision is named as what overflowed, where nothing else grew: a tenth of the
65,504 that float16 holds; float32 holds 10³⁸ (our choice)."""

RECURRENT_GROWTH = 10.0
"""Mean absolute output of a module's last call within one forward over that of its first, from which on the values are
said to grow over the calls (our choice: an order of magnitude)."""

RECURRENT_CALLS = 3
"""Calls of one module within a forward from which on growth over them can be told (our choice)."""

DIVERGED_LOSS = 10.0
"""Last finite loss over the median of the first ones, from which on the training diverged before it was not finite, and
the loss's own definition is not blamed (our choice)."""

SKIPPED_SHARE = 0.05
"""Share of an optimizer's steps left out by a GradScaler above which it is not at work as meant: it raises the scale
once in 2,000 steps and leaves out one for it."""
# Outputs --------------------------------------------------------------------------------------------------------------

LEAST_OUTPUT_ROWS = 8
"""Rows of a batch from which on its spread between them is asked: of fewer it is mostly chance (our choice; the
variance of 8 rows is known to within 53%, √(2/7))."""

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

OPEN_GATE = 0.9
"""Mean output of a sigmoid from which on it is an open gate: it multiplies by nearly 1, as an LSTM's forget gate is
meant to at the start (Jozefowicz et al. 2015, section 2.2, a bias of 1 or 2: up to 0.88)."""

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

# Explaining ---------------------------------------------------------------------------------------------------------

EXPLAIN_ONSETS = 2
"""Times the step at which a failure was certain that a trial goes on: a change that only delays it a little is no cure
(our choice)."""

EXPLAIN_MARGIN = 30
"""Steps that are added to that: rules about parameters speak after 30 steps (definitions)."""

EXPLAIN_LEAST_STEPS = 100
"""Fewest steps of a trial: rules about collapsed outputs and best constants speak after 100 (definitions)."""

EXPLAIN_CERTAIN = 2
"""Times the step since which a serious finding stands, after which the unchanged script is ended (our choice)."""

EXPLAIN_SHORT = 10.0
"""Seconds up to which an unchanged script is never ended (our choice: nobody minds waiting so long)."""

EXPLAIN_SURE = 1.25
"""Times the step at which the failure was certain unchanged, after which a trial that has it is ended (our choice)."""

EXPLAIN_NONFINITE = 10
"""Losses in a row that are not finite, after which a trial is ended (our choice: within as many steps a GradScaler that
begins at its usual 65,536 has come down to 64)."""

EXPLAIN_SURE_SHARE = 0.5
"""Share of its steps before which no trial is ended for having failed: some failures pass (our choice)."""

EXPLAIN_FAILING_SEEDS = 3
"""Failing seeds on which a cure must hold (definitions)."""

LOST_DISTINCTION = 10.0
"""Times that an output's share of what tells rows apart must have fallen, for its objective to be said to reach its
optimum at a constant (our choice: an order of magnitude)."""

EXPLAIN_LUCK = 0.05
"""Chance that all failing seeds are spared by luck, up to which a cure of all of them counts (the usual 5%)."""

EXPLAIN_MOST_SEEDS = 10
"""Seeds that are searched for these; a failure that comes on fewer is mostly luck (definitions). The search ends early
where at the share that has failed so far, by Laplace's rule, the rest would hardly (`EXPLAIN_LUCK`) make it enough."""

EXPLAIN_RIVALS = 2
"""Other changes that are tried after evidence and experiment agree: enough to show that not everything helps, and that
there may be another cause (our choice, beside the control with a change of no meaning)."""

EXPLAIN_MOST_OF_IT = 0.5
"""Share of what moved the parameters at a step from which on one source of it is asked first (our choice: most)."""

EXPLAIN_EASES = 1 / 3
"""Share of what the best change takes off the loss, below which another change only eases the failure (our choice)."""

EXPLAIN_HUGE = 1e6
"""Size of an operand from which on a product or a sum that overflows is where a growth ended, and not what is to be
guarded (our choice: no healthy activation or gradient comes near)."""

EXPLAIN_CALLS = 4
"""Number of a layer's call within one forward, counted from 0, from which on the calls are taken for steps of a
recurrence (our choice: layers are shared by two or three branches)."""

EXPLAIN_LOST = 1e-4
"""Share of a gradient that passes an operation, up to which it counts as lost there (our choice: far below the 0.25
that a sigmoid passes at its best, whose slope is at most 1/4)."""
