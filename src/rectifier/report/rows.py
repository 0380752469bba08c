"""The rows of the table of layers: their names, their sites, and what the gradient does from one to the next."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rectifier.records import Diagnosis, Finding, LayerSummary, Process, SiteRef


def worth_a_row(diagnosis: Diagnosis, told: Iterable[Finding], most: int) -> list[int]:
    """The layers that a table lists: all, or those that findings are about and then those with most silent units.

    Args:
        diagnosis: With the layers.
        told: The findings that are shown.
        most: Where there are more layers than that, some are left out.
    """
    layers = diagnosis.layers
    if len(layers) <= most:
        return list(range(len(layers)))
    named = {finding.site for finding in told}
    order = sorted(range(len(layers)), key=lambda row: (layers[row].site not in named, -silent_fraction(layers[row])))
    return sorted(order[:most])


def silent_fraction(layer: LayerSummary) -> float:
    """The share of its units that are dead or suspected; 0 where they are unknown."""
    return ((layer.dead or 0) + (layer.suspected or 0)) / layer.units if layer.units else 0.0


def sites_of_layers(process: Process, diagnosis: Diagnosis) -> list[int | None]:
    """Which site each row of the layer table is; a call of one module beside itself has the same label."""
    left: dict[SiteRef, list[int]] = {}
    for index, site in enumerate(process.sites):
        left.setdefault(site.ref, []).append(index)
    return [left[layer.site].pop(0) if left.get(layer.site) else None for layer in diagnosis.layers]


def factors(process: Process, diagnosis: Diagnosis) -> list[float | None]:
    """By how much ‖∂L/∂z‖ changes on its way down into each row: over that of the next one in the order of the calls.

    None at the last layer of a model, and where either is unknown or the upper one is 0. Where branches run beside each
    other, the next one is not always the one above.
    """
    found: list[float | None] = []
    models = [None if index is None else process.sites[index].model for index in sites_of_layers(process, diagnosis)]
    rows: Sequence[tuple[str | None, float | None]] = [
        (model, layer.delta) for model, layer in zip(models, diagnosis.layers, strict=True)
    ]
    for (model, delta), (upper_model, upper) in pairwise([*rows, (None, None)]):
        known = model is not None and model == upper_model and delta is not None and upper
        factor = delta / upper if known and delta is not None and upper else None
        found.append(factor if factor is not None and math.isfinite(factor) else None)
    return found
