"""Where an activation is applied."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One application of an activation function inside a model's forward.

    Attributes:
        model: Class name of the outermost module of the forward; `MLP#2` for the second of that class.
        path: The owning module's path in the model, "" for the model itself.
        call: Index of this call among those of the same owner within one forward of the model.
        activation: As a user writes it: `relu`, `leaky_relu:0.1`.
        kind: `module` when the owner is itself an activation module, `function` for a call inside its forward.
        source: `file.py:31`, the user's line that made the call; None where it could not be told.
        units: Number of units (channels); None where the unit axis is unknown.
        unit_axis: The axis that was counted as units, or the reason why it is unknown.
        fed_by: Name of the weight whose layer feeds the site, None where it could not be told.
        repeated: Whether what is counted comes from a repetition of the forward as it is written, beside a compiled
            one. No gradient passes through a repetition.
    """

    model: str
    path: str
    call: int
    activation: str
    kind: str
    source: str | None
    units: int | None
    unit_axis: str
    fed_by: str | None = None
    repeated: bool = False

    @property
    def label(self) -> str:
        """How every report names the site; the call is told only when it is not the first."""
        where = self.path or self.model
        if where.replace(".", "").isdigit():
            # `1` alone, in a Sequential, reads like a count.
            where = f"{self.model}.{where}"
        return f"{where} (call {self.call + 1})" if self.call else where


def told_apart(sites: Sequence[Site]) -> tuple[Site, ...]:
    """The sites under labels that tell models apart: where two have one of the same name, the model's comes first.

    Example:
        >>> net = {"path": "net.1", "call": 0, "activation": "relu", "kind": "module", "source": None, "units": 5}
        >>> sites = [Site(model=model, unit_axis="last", **net) for model in ("Generator", "Critic")]
        >>> [site.label for site in told_apart(sites)]
        ['Generator.net.1', 'Critic.net.1']
    """
    models: dict[str, set[str]] = {}
    for site in sites:
        models.setdefault(site.label, set()).add(site.model)
    return tuple(
        replace(site, path=f"{site.model}.{site.path}") if len(models[site.label]) > 1 else site for site in sites
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Something that looked like an activation and was not observed, with the reason."""

    what: str
    reason: str
