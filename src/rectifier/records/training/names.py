"""What people call a site: by what feeds it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from rectifier.records.training.site import Site, SiteRef


def told_apart(sites: Sequence[Site]) -> tuple[SiteRef, ...]:
    """The sites with a name for each, no two of them alike.

    A call inside a forward is named by the layer before it, `fc1 → relu`. A module has its own path, or is named
    likewise where one forward calls it several times. Where two models have a site of one name, the model's name comes
    first, at all sites of these two: `4` beside `Generator.4` would not tell whose it is. What is still alike is
    counted: `fc → tanh (call 2)`.

    Example:
        >>> from rectifier.records import AxisSource, UnitAxis
        >>> net = {"path": "", "activation": "relu", "kind": "function", "source": None, "units": 5}
        >>> net["unit_axis"] = UnitAxis(axis=-1, ndim=2, source=AxisSource.LAYER, operation="Addmm")
        >>> sites = [Site(model="Net", call=call, layer=f"fc{call + 1}", **net) for call in range(2)]
        >>> [site.label for site in told_apart(sites)]
        ['fc1 → relu', 'fc2 → relu']
        >>> sites.append(Site(model="Critic", call=0, layer="fc2", **net))
        >>> [site.label for site in told_apart(sites)]
        ['Net.fc1 → relu', 'Net.fc2 → relu', 'Critic.fc2 → relu']
    """
    keyed = _models_alike(sites, [site.ref.key for site in sites])
    refs = [replace(site.ref, with_model=site.model in keyed) for site in sites]
    calls = Counter((site.model, site.path) for site in sites)
    several = [calls[site.model, site.path] > 1 for site in sites]
    alike = _models_alike(sites, [_name(site, one) for site, one in zip(sites, several, strict=True)])
    names = [_name(site, one, site.model in alike) for site, one in zip(sites, several, strict=True)]
    return tuple(replace(ref, name=name) for ref, name in zip(refs, _counted(names), strict=True))


def _models_alike(sites: Sequence[Site], names: Sequence[str]) -> set[str]:
    """The models of which another one has a site of the same name."""
    models: dict[str, set[str]] = {}
    for site, name in zip(sites, names, strict=True):
        models.setdefault(name, set()).add(site.model)
    return {model for together in models.values() if len(together) > 1 for model in together}


def _name(site: Site, several: bool, with_model: bool = False) -> str:
    """A name, which another site may have, too.

    Args:
        site: It.
        several: Whether its module applies an activation several times in a forward.
        with_model: Whether the model's name comes first.
    """
    is_module = site.kind == "module"
    if site.layer is None or (is_module and not (several and site.layer)):
        return replace(site.ref, with_model=with_model).key
    if not site.layer:
        where = replace(site.ref, with_model=with_model, call=0).key
        return f"{site.activation.partition(':')[0]} in {where}"
    part = f"[{', '.join(map(str, site.fed_part))}]" if site.fed_part else ""
    # A number alone reads like a count.
    whole = with_model or site.layer.replace(".", "").isdigit()
    own = site.path.rpartition(".")[2] if is_module else ""
    applied = own if own and not own.isdigit() else site.activation.partition(":")[0]
    return f"{f'{site.model}.' if whole else ''}{site.layer}{part} → {applied}"


def _counted(names: Sequence[str]) -> list[str]:
    """The names in their order, those that were there before with the number of the call."""
    taken: dict[str, None] = {}
    numbers: dict[str, Iterator[int]] = {}
    for name in names:
        own = name
        while own in taken:
            own = f"{name} (call {next(numbers.setdefault(name, count(2)))})"
        taken[own] = None
    return list(taken)
