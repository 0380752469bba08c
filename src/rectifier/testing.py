"""For test suites: a network that cannot learn fails a test, before anybody trains it."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from rectifier.api.probe import check
from rectifier.records import Severity


def assert_alive(
    model: nn.Module,
    batch: Any,
    *,
    fail_on: Severity = "warning",
    allow_unjudged: bool = False,
    suppress: Mapping[str, str] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> None:
    """Fail when one forward and one backward pass show that a network cannot learn as it stands.

    Warning:
        Passing proves little; one batch of an untrained network shows what is broken from the start, and nothing of
        what training will do. Seed before the model is made, or the test is a draw.

    Args:
        model: An untrained module; afterwards it is as it was.
        batch: As a loader yields it.
        fail_on: The mildest severity that fails.
        allow_unjudged: Pass also where no activation was seen, or the units of a layer could not be told apart.
        suppress: Known findings and why they are no failure: `{"output-activation": "targets are counts"}`.
        forward: As for `rectifier.check`.
        loss: Likewise.

    Raises:
        AssertionError: What is wrong, why, and what to do, one paragraph a finding; or what could not be judged.
        CannotProbe: The model cannot be run on the batch.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        >>> assert_alive(model, torch.randn(11, 3))
        >>> _ = torch.nn.init.constant_(model[0].bias, -99.0)
        >>> assert_alive(model, torch.randn(11, 3))
        Traceback (most recent call last):
        ...
        AssertionError: Sequential is not ready to be trained:
        born dead: Sequential.1 is silent as a whole, and the network's output is a constant. ...
    """
    found = check(model, batch, suppress=suppress, forward=forward, loss=loss)
    if not found.reaches(fail_on):
        unknown = [layer.site for layer in found.layers if layer.units is None]
        if not allow_unjudged and (unknown or not found.layers):
            what = f"the units of {', '.join(unknown)} could not be told apart" if unknown else "no activation was seen"
            raise AssertionError(f"{found.model} could not be judged: {what}. allow_unjudged=True lets that pass.")
        return
    told = [finding for finding in found.findings if fail_on == "info" or finding.severity != "info"]
    if fail_on == "serious":
        told = [finding for finding in told if finding.severity == "serious"]
    paragraphs = [f"{one.title}. {one.detail} Why: {one.cause}. What to do: {one.advice}" for one in told]
    raise AssertionError("\n".join([f"{found.model} is not ready to be trained:", *paragraphs]))
