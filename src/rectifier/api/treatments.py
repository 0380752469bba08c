"""Which treatments the findings call for."""

from collections.abc import Iterable

from rectifier import treatment
from rectifier.api.training import Watch
from rectifier.records import Diagnosis, Finding
from rectifier.report.sentences import prescription
from rectifier.treatment import Prescription


def prescribe(findings: Finding | Iterable[Finding] | Diagnosis | Watch) -> Prescription:
    """Put together the ladder of treatments for what was found, mildest first.

    The rungs are: advice only; a ReLU with a surrogate gradient (the function stays the same); Leaky ReLU in the
    affected layers; rescaled initial weights, if initialisation was the cause; recycling of dead units. Treatments that
    the findings do not call for are left out, with the reason.

    Warning:
        It is not proved that any of these treatments helps here. Apply one, go on training, and compare with a training
        without it.

    Args:
        findings: A watch, its diagnosis, or findings of it.

    Returns:
        A sequence of rungs, each with `changes`, `loses`, `cost`, `expect`, `code`, and `apply(model, optimizer,
        batch)`.

    Raises:
        CannotPrescribe: These are no findings.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
        >>> _ = model[0].bias.data.fill_(-100)
        >>> optimizer, x = torch.optim.Adam(model.parameters()), torch.randn(4000, 5)
        >>> with rectifier.watch(model) as watch:
        ...     model(x).square().mean().backward()
        ...     optimizer.step()
        >>> ladder = rectifier.prescribe(watch)
        >>> [rung.name for rung in ladder]
        ['advice', 'surrogate_gradient', 'swap', 'recycle']
        >>> print(ladder["swap"].code)
        rectifier.swap(model, 'relu', 'leaky_relu:0.1')
        >>> ladder["swap"].apply(model)
        relu → leaky_relu:0.1 in 1 place
          1

    Source: He et al. 2015, arXiv:1502.01852; Mishkin et al. 2017, arXiv:1606.02228; Dohare et al. 2024, Nature 632.
    """
    return treatment.prescribe(findings).told(prescription.rung_texts, prescription.why_left_out)
