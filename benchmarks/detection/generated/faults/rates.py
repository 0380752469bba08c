"""The optimizer: its learning rate, momentum, decay, state and schedule."""

import math

from generated.faults.kinds import Fault
from generated.job import Design, Job


def _scaled(design: Design, dose: float) -> None:
    design.lr *= dose


def _lowered(design: Design, dose: float) -> None:
    # An infinite dose is a learning rate of 0.
    design.lr /= dose


def _momentum(design: Design, dose: float) -> None:
    design.options["momentum"] = dose


def _decay(design: Design, dose: float) -> None:
    design.options["weight_decay"] = dose


def _eps(design: Design, dose: float) -> None:
    design.options["eps"] = dose


def _beta(design: Design, dose: float) -> None:
    design.options["betas"] = (0.9, dose)


def _decaying(job: Job, dose: float) -> None:
    job.schedule = lambda step: dose**step


def _warming(job: Job, dose: float) -> None:
    job.schedule = lambda step: min(1.0, step / dose)


def _clip(job: Job, dose: float) -> None:
    job.clip = dose


def _to_sgd(design: Design, dose: float) -> None:
    if design.optimizer in ("adam", "adamw"):
        design.optimizer, design.lr, design.options = "momentum", 0.02, {"momentum": 0.9}


def _to_adam(design: Design, dose: float) -> None:
    if design.optimizer in ("sgd", "momentum"):
        design.optimizer, design.lr, design.options = "adam", 3e-3, {}


def _plain(design: Design) -> bool:
    """Those that plain gradient descent trains in so few steps."""
    return design.architecture in ("mlp", "cnn", "residual", "experts", "graph")


FAULTS = [
    Fault("learning-rate-high", ("learning_rate",), (3, 10, 30, 100, 1000, 1e5), design=_scaled),
    Fault("learning-rate-low", ("learning_rate_low", "learning_rate_zero"), (3, 30, 300, 1e4), design=_lowered),
    Fault("learning-rate-zero", ("learning_rate_zero", "learning_rate_low"), (math.inf,), design=_lowered),
    Fault("momentum", ("optimizer_state", "learning_rate"), (0.95, 0.99, 0.999, 0.9999), _plain, _to_sgd,
          design=_momentum),
    Fault("weight-decay", ("weight_decay",), (1e-4, 0.1, 1, 10, 100), design=_decay),
    Fault("eps", ("optimizer_state", "learning_rate_low"), (1e-4, 0.1, 10, 1000), prepare=_to_adam, design=_eps),
    Fault("second-moment", ("optimizer_state", "learning_rate"), (0.99, 0.5, 0.0), prepare=_to_adam, design=_beta),
    Fault("schedule-per-batch", ("learning_rate_low", "learning_rate_zero"), (0.999, 0.95, 0.7, 0.3), job=_decaying),
    Fault("warm-up-too-long", ("learning_rate_low", "learning_rate_zero"), (20, 2000, 1e5), job=_warming),
    Fault("clipped", ("learning_rate_low",), (1.0, 1e-2, 1e-4), _plain, _to_sgd, job=_clip),
]  # fmt: skip
