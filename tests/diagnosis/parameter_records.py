"""Parameters of a training in one line each: a row of what is known of it, for the rules about parameters."""

from dataclasses import replace

import numpy as np

from rectifier.records import Holder, InputFacts, OptimizerState, Parameter, ParameterCounts

from .builders import FALLING, NAN, process, site, snapshot, window

TRAINS = {
    "first_looked": 0, "last_looked": 199, "looked": 50, "without_gradient": 0, "zero_gradient": 0, "last_nonzero": 199,
    "nonfinite_step": -1, "connected": 10, "first_compared": 0, "last_compared": 198, "last_changed": 198,
    "nonfinite_weight_step": -1, "weight_first": 1.0, "weight_last": 1.1, "gradient": 0.1, "optimizer": 0,
    "learning_rate": 0.01, "weight_decay": 0.0, "epsilon": NAN,
}  # fmt: skip
"""A parameter that trains."""
STILL = {**TRAINS, "last_changed": -1, "weight_last": 1.0, "learning_rate": 1e-9}
"""Gradients come, and no bit changes."""
ZERO = {**STILL, "zero_gradient": 50, "last_nonzero": -1, "gradient": 0.0}
UNREACHED = {**STILL, "without_gradient": 50, "last_nonzero": -1, "gradient": NAN, "connected": 0}
"""No gradient comes."""
_REAL = ("weight_first", "weight_last", "gradient", "learning_rate", "weight_decay", "epsilon")

ADAM = OptimizerState(name="Adam", steps=200)


def parameter(path="fc.weight", shape=(5, 7), *, model="Net", holder=Holder.MODULE, requires_grad=True):
    return Parameter(model=model, path=path, shape=shape, holder=holder, requires_grad=requires_grad)


def counts(rows, *, optimizers=(ADAM,), steps=200, passes=200, losses_read=20):
    arrays = {
        name: np.array([row[name] for row in rows], float if name in _REAL else np.int64)
        for name in TRAINS
    }  # fmt: skip
    return ParameterCounts(
        **arrays, losses_read=losses_read, optimizers=tuple(optimizers), backward_passes=passes, optimizer_steps=steps
    )


def training(parameters, *, sites=None, windows=None, losses=FALLING, inputs=None, models=(), outputs=(), **more):
    """A process with pairs of parameter and row; without sites of one's own, one healthy one.

    Args:
        parameters: Pairs.
        sites: Sites.
        windows: One each.
        losses: One a step.
        inputs: What was given to the model.
        models: How models were used.
        outputs: Windows of outputs.
        more: Passed to `counts`.
    """
    sites = [replace(site("act"), fed_by="fc.weight")] if sites is None else sites
    windows = [healthy(index) for index in range(len(sites))] if windows is None else windows
    end = replace(
        snapshot(windows, losses=losses, step=199),
        parameters=counts([row for _, row in parameters], **more), inputs=inputs, models=tuple(models),
        outputs=tuple(outputs),
    )  # fmt: skip
    return replace(process(sites, end), parameters=tuple(one for one, _ in parameters))


def healthy(index=0, steps=range(0, 200, 4), **more):
    return window(index, steps=steps, **{"delta": 0.1, "update": 1e-3, **more})


def inputs(**more):
    known = {
        "constant_features": 0, "features": 7, "nonfinite_step": None, "nonfinite_samples": 0, "samples": 4000,
        "batches": 50, "batches_of_one": 0, "zero": False,
    }  # fmt: skip
    return InputFacts(**{**known, **more})
