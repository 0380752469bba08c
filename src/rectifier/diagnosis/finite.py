"""Findings about NaN and infinities; looked at first, because NaN compares false with everything."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis.history import SiteHistory
from rectifier.records import Finding, Series


def judge_finiteness(histories: Sequence[SiteHistory], loss: Series) -> list[Finding]:
    """The first site whose output was not finite, or the loss if it was first."""
    places = [
        (window.nonfinite_step, history.index, history)
        for history in histories
        for window in history.windows
        if window.nonfinite_step is not None
    ]
    bad_losses = loss.steps[~np.isfinite(loss.values)]
    if not places and not len(bad_losses):
        return []
    step, label = (min(places)[0], min(places)[2].site.label) if places else (int(bad_losses[0]), None)
    where = f"the output of {label}" if label is not None else "the loss"
    finite = loss.values[np.isfinite(loss.values) & (loss.steps < step)]
    before = f" The last finite loss before it was {finite[-1]:.4g}." if len(finite) else ""
    return [
        Finding(
            name="non-finite",
            severity="serious",
            site=label,
            title=f"{where} held NaN or an infinity at step {step}",
            detail=f"It was the first place observed; from there on other numbers of this run mean little.{before}",
            cause="cause unknown: the first place names the layer, not the reason",
            advice="Look at this layer's input at that step; lower the learning rate, clip the gradient norm, or keep "
            "half precision away from it. torch.autograd.set_detect_anomaly(True) names the operation.",
            evidence={
                "step": step,
                "sites_affected": len({index for _, index, _ in places}),
                "losses": len(bad_losses),
            },
        )
    ]
