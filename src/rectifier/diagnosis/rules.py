"""The names under which rules speak, as users write them to silence a finding."""

RULES = {
    "dead-units": "units of one layer that have no gradient on any sample",
    "stuck-negative": "units of one layer that never fire, of an activation that still passes a gradient there",
    "constant-network": "a silent layer cuts the only path through the network",
    "constant-predictor": "the last activation gives every sample almost the same output, and nothing is learned",
    "vanishing-gradient": "the gradient dies out on its way down, and the first layer does not learn",
    "exploding-gradient": "the gradient grows on its way down, is infinite, or exploded at a step",
    "shrinking-gradient": "the gradient shrinks from layer to layer",
    "starved": "units that fire and get no gradient: the cause is downstream",
    "frozen": "layers that are not trained; a label",
    "saturated": "most units of a layer are where tanh or sigmoid is flat",
    "always-on": "units of a layer that are never off: linear",
    "poor-initialisation": "at the start: signal and gradient vanish or explode both, or samples look alike",
    "output-activation": "before training: the network ends in an activation with a flat side",
    "no-gradient": "before training: no parameter gets a gradient",
    "non-finite": "an output or the loss held NaN or an infinity",
    "silent-rows": "rows of a checkpoint's weight that had no gradient, or did not move since an earlier one",
    "no-input": "a weight without gradient whose biases have one: its inputs are 0",
    "likely-dead-by-weights": "rows whose weights and bias keep a ReLU from firing",
}
"""Name -> what a finding of that name says. Nothing else may be a finding's name."""
