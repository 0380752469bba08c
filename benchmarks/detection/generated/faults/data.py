"""The data: inputs, targets and the order in which they come."""

from dataclasses import replace

import torch
from torch import Tensor

from generated.faults.kinds import FLAT, Fault, among, classifies, smooth_inputs, to_regression
from generated.job import Design, Job


def _set(job: Job, inputs: Tensor) -> None:
    job.inputs = inputs
    if job.task.kind == "rebuilt":
        job.targets = inputs


def _offset(job: Job, dose: float) -> None:
    _set(job, job.inputs + dose)


def _scaled(job: Job, dose: float) -> None:
    _set(job, job.inputs * dose)


def _column(job: Job, dose: float) -> None:
    inputs = job.inputs.clone()
    # One in the middle: the first pixels are 0 in every image.
    inputs[..., inputs.shape[-1] // 2] *= dose
    _set(job, inputs)


def _constant(job: Job, dose: float) -> None:
    job.inputs = torch.full_like(job.inputs, dose)


def _same(job: Job, dose: float) -> None:
    """Every sample is the first one, but for a share."""
    inputs = job.inputs[:1].expand_as(job.inputs).clone()
    kept = round((1 - dose) * len(inputs))
    inputs[:kept] = job.inputs[:kept]
    job.inputs = inputs


def _nan_samples(job: Job, dose: float) -> None:
    inputs = job.inputs.clone()
    inputs[torch.randperm(len(inputs))[: int(dose)]] = float("nan")
    job.inputs = inputs


def _inf_value(job: Job, dose: float) -> None:
    inputs = job.inputs.clone()
    for row in torch.randperm(len(inputs))[: int(dose)]:
        inputs[row].view(-1)[-1] = float("inf")
    job.inputs = inputs


def _nan_column(job: Job, dose: float) -> None:
    """In a share of the rows, as where a measurement is missing."""
    inputs = job.inputs.clone()
    inputs[torch.rand(len(inputs)) < dose, ..., -1] = float("nan")
    job.inputs = inputs


def _targets_scaled(job: Job, dose: float) -> None:
    job.targets = job.targets * dose


def _targets_offset(job: Job, dose: float) -> None:
    job.targets = job.targets + dose


def _targets_nan(job: Job, dose: float) -> None:
    targets = job.targets.clone()
    targets[torch.randperm(len(targets))[: int(dose)]] = float("nan")
    job.targets = targets
    _keep_measure(job)


def _keep_measure(job: Job) -> None:
    # What is not known cannot be scored.
    known = job.targets.isfinite().flatten(1).all(1)
    whole = job.task
    job.task = replace(whole, measure=lambda output, targets: whole.measure(output[known], targets[known]))


def _shuffled(job: Job, dose: float) -> None:
    """Labels that belong to other samples, for a share of them; scored on the right ones."""
    targets = job.targets.clone()
    chosen = torch.randperm(len(targets))[: round(dose * len(targets))]
    targets[chosen] = targets[chosen[torch.randperm(len(chosen))]]
    right, whole = job.targets, job.task
    job.targets = targets
    job.task = replace(whole, measure=lambda output, _: whole.measure(output, right))


def _sorted(job: Job, dose: float) -> None:
    """By class, within chunks of this many batches; all data, for 0."""
    chunk = int(dose) * job.design.batch or len(job.targets)
    order = torch.cat([part[job.targets[part].argsort(stable=True)]
                       for part in torch.arange(len(job.targets)).split(chunk)])  # fmt: skip
    job.inputs, job.targets, job.shuffled = job.inputs[order], job.targets[order], False


def _sortable(design: Design) -> bool:
    return classifies(design) and design.data != "tokens"


FAULTS = [
    Fault("inputs-offset", ("input_scale",), (0.3, 10, 100, 1e4), smooth_inputs, job=_offset),
    Fault("inputs-scaled", ("input_scale",), (0.5, 3, 255, 1e4, 1e-3), smooth_inputs, job=_scaled),
    Fault("column-scaled", ("input_scale",), (3, 100, 1e5), smooth_inputs, job=_column),
    Fault("inputs-constant", ("input_constant",), (0, 1), smooth_inputs, job=_constant),
    Fault("inputs-alike", ("input_constant",), (0.1, 1), smooth_inputs, job=_same),
    Fault("nan-samples", ("input_not_finite",), (1, 20), smooth_inputs, job=_nan_samples),
    Fault("infinite-value", ("input_not_finite",), (1, 20), smooth_inputs, job=_inf_value),
    Fault("nan-column", ("input_not_finite",), (0.01, 0.5), smooth_inputs, job=_nan_column),
    Fault("targets-scaled", ("target_scale",), (3, 100, 1e4, 1e7), among(*FLAT), to_regression,
          job=_targets_scaled),
    Fault("targets-offset", ("target_scale",), (1, 30, 1e3, 1e5), among(*FLAT), to_regression, job=_targets_offset),
    Fault("targets-nan", ("input_not_finite", "loss_not_finite"), (1, 20), among(*FLAT), to_regression,
          job=_targets_nan),
    Fault("labels-shuffled", ("unknown",), (0.1, 1), classifies, job=_shuffled),
    Fault("sorted", ("data_order",), (3, 0), _sortable, job=_sorted),
]  # fmt: skip
