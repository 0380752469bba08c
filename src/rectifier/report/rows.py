"""The rows of the table of layers: their names, their sites, and what the gradient does from one to the next."""

import math
from collections.abc import Sequence
from itertools import pairwise

from rectifier.records import Diagnosis, Process


def layer_names(process: Process, diagnosis: Diagnosis) -> list[str]:
    """The rows of the layer table by name; the model's comes first where the process trained several."""
    models = {site.model for site in process.sites}
    names = []
    for layer, index in zip(diagnosis.layers, sites_of_layers(process, diagnosis), strict=True):
        several = len(models) > 1 and index is not None and not layer.site.startswith(process.sites[index].model)
        names.append(f"{process.sites[index].model} · {layer.site}" if several and index is not None else layer.site)
    return names


def sites_of_layers(process: Process, diagnosis: Diagnosis) -> list[int | None]:
    """Which site each row of the layer table is; the same label may stand in two models."""
    left: dict[str, list[int]] = {}
    for index, site in enumerate(process.sites):
        left.setdefault(site.label, []).append(index)
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
