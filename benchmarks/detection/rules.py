"""Rules that exist, re-implemented from their published definitions. Each is asked at a step and answers yes or no.

None of them names a cause. Where a definition leaves open over which samples it is evaluated, it is the batch of that
step, as in the tools themselves.
"""

from training import Training


def sagemaker_dead_relu(training: Training, accuracy: float | None) -> bool:
    """SageMaker Debugger's DeadRelu: a unit is inactive if active on < 1 % of the batch; > 50 % of a layer."""
    for _, output in training.outputs:
        units = output.movedim(1, -1) if output.ndim > 3 else output
        active = (units.reshape(-1, units.shape[-1]) > 0).double().mean(0)
        if float((active < 0.01).double().mean()) > 0.5:
            return True
    return False


def sagemaker_vanishing(training: Training, accuracy: float | None) -> bool:
    """SageMaker Debugger's VanishingGradient: the mean absolute gradient of a weight is below 1e-7."""
    return any(float(gradient.abs().mean()) < 1e-7 for gradient in training.gradients())


def autotrainer(training: Training, accuracy: float | None) -> bool:
    """AUTOTRAINER (Zhang et al. 2021): dying ReLU or vanishing gradient, while the accuracy is at most 0.7.

    Dying: ≥ 70 % of the elements of all weight gradients are 0. Vanishing: mean |gradient| of the first layer over that
    of the last ≤ 1e-3, and of the first ≤ 1e-4. A regression has no accuracy: the condition counts as met.
    """
    if accuracy is not None and accuracy > 0.7:
        return False
    gradients = training.gradients()
    if not gradients:
        return False
    zero = sum(int((gradient == 0).sum()) for gradient in gradients) / sum(gradient.numel() for gradient in gradients)
    first, last = float(gradients[0].abs().mean()), float(gradients[-1].abs().mean())
    return zero >= 0.7 or (first <= 1e-4 and (last == 0 or first / last <= 1e-3))


def deepdiagnosis(training: Training, accuracy: float | None) -> bool:
    """DeepDiagnosis (Wardat et al. 2022), dead node: ≥ 70 % of the elements of a layer's output are ≤ 0."""
    return any(float((output <= 0).double().mean()) >= 0.7 for _, output in training.outputs)


def fastai_near_zero(training: Training, accuracy: float | None) -> bool:
    """Fastai's ActivationStats: |h| ≤ 0.05 for more than half of a layer's elements."""
    return any(float((output.abs() <= 0.05).double().mean()) > 0.5 for _, output in training.outputs)


RULES = {
    "SageMaker DeadRelu": sagemaker_dead_relu,
    "SageMaker VanishingGradient": sagemaker_vanishing,
    "AUTOTRAINER": autotrainer,
    "DeepDiagnosis dead node": deepdiagnosis,
    "fastai near zero": fastai_near_zero,
}
