"""What is changed in an experiment, in words."""

from rectifier.records import Change, Experiment, Intervention

_CHANGES: dict[Change, str] = {
    Change.LEARNING_RATE_THIRD: "a third of the learning rate",
    Change.LEARNING_RATE_TENTH: "a tenth of the learning rate",
    Change.LEARNING_RATE_HUNDREDTH: "a hundredth of the learning rate",
    Change.LEARNING_RATE_TRIPLE: "three times the learning rate",
    Change.WARM_UP: "warm-up",
    Change.CLIP_GRADIENT: "a clipped gradient",
    Change.CLIPPING_OFF: "no clipping of the gradient",
    Change.LARGER_EPS: "a larger eps",
    Change.MOMENTUM_OFF: "no momentum",
    Change.WEIGHT_DECAY_OFF: "no weight decay",
    Change.LOSS_TERM_OFF: "the loss without one term",
    Change.WEIGHTS_HE: "He initialisation",
    Change.WEIGHTS_GLOROT: "Glorot initialisation",
    Change.WEIGHTS_SMALL_RANDOM: "small random weights instead of 0",
    Change.ZERO_BIAS: "zero biases",
    Change.STANDARDISE_INPUTS: "standardised inputs",
    Change.STANDARDISE_TARGETS: "standardised targets",
    Change.LEAKY_ACTIVATION: "Leaky ReLU",
    Change.BOUNDED_ACTIVATION: "a bounded activation",
    Change.UNSATURATED_ACTIVATION: "Leaky ReLU instead of sigmoid or tanh",
    Change.LINEAR_OUTPUT: "a linear output",
    Change.NORMALISATION_OFF: "no normalisation",
    Change.FLOAT32: "float32",
    Change.ZERO_GRAD: "gradients cleared before each backward pass",
    Change.TRAIN_MODE: "train mode",
    Change.ADD_PARAMETERS: "all parameters in the optimizer",
    Change.STEP_OPTIMIZER: "a step after each backward pass",
    Change.SKIP_BATCHES_OF_ONE: "no batches of one",
    Change.SKIP_NONFINITE: "no non-finite batches",
    Change.GUARD_OPERATION: "a guarded operation",
    Change.RESTART: "another seed",
    Change.PLACEBO: "the learning rate × 1.001",
    Change.NONE: "nothing",
}


def change_words(experiment: Experiment) -> str:
    """A change, as a sentence names it."""
    applied = experiment.applied
    if experiment.intervention.change is Change.LOSS_TERM_OFF and applied is not None and applied.detail:
        return f"no {applied.detail} in the loss"
    return intervention_words(experiment.intervention)


def intervention_words(intervention: Intervention) -> str:
    """The same for a change that was not tried."""
    words = _CHANGES[intervention.change]
    return words if intervention.value is None else f"{words} ({intervention.value})"
