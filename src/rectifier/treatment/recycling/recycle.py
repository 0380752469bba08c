"""Dead units revived: the function stays, and they learn from the next step on."""

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier._formatting import listed
from rectifier.errors import CannotRecycle
from rectifier.records import Diagnosis, Finding, SiteRef
from rectifier.sandbox import Forward, Pass, own_module
from rectifier.treatment.recycling import exact, named, published, state
from rectifier.treatment.recycling.laboratory import Key, Laboratory, Watching
from rectifier.treatment.recycling.slots import Wiring
from rectifier.treatment.recycling.undo import Ledger, Recycled
from rectifier.treatment.recycling.wiring import find_wiring
from rectifier.treatment.swapping import refusals

_SHOWN = 8


def recycle(
    model: nn.Module,
    optimizer: Optimizer,
    findings: "Finding | Iterable[Finding] | Diagnosis | Any",
    *,
    batch: Any,
    method: str = "exact",
    forward: Forward | None = None,
) -> Recycled:
    """Revive confirmed dead units so that the network's function stays and the units learn from the next step on.

    Two dead units get the same new incoming row, drawn anew and placed so that they fire on about half of the
    batch, and outgoing weights +u and −u; an odd one shares the work of a live unit. The optimizer's state of exactly
    these entries becomes that of a live entry at rest. Which weights belong to a unit is read off one forward and
    proved on the batch: with the named outgoing weights at 0, no value of the units may reach the outputs.

    Warning:
        Call it between `optimizer.step()` and the next forward; gradients that are already there are of the old units.
        The model runs a few times on the batch, without gradients: hooks of yours on its modules fire. Dropout between
        units and readers hits the two of a pair separately, so that with it the sums stay in the mean. With several
        ranks, all have to pass the same findings and the same batch.

    Formula, for a pair (p, q) with incoming row r and threshold b: `f(r·x + b)·u − f(r·x + b)·u = 0` for every x;
    `∂L/∂r_p = −∂L/∂r_q = (u·δ) f′ x ≠ 0`, `∂L/∂u = f·δ ≠ 0`, δ the gradient at the readers.

    Exact are the optimizers of `rectifier.treatment.recycling.EXACT`: SGD (with momentum, Nesterov), Adam, AdamW,
    NAdam, RAdam (with amsgrad), Adamax, RMSprop, Adagrad, Adadelta, Rprop; plain, foreach, fused and capturable. First
    moments become 0, second moments the median of the live units' entries; step counts, other entries, groups and
    schedulers are not touched.

    `method="redo"` (ReDo) and `"continual"` (continual backprop) reset as published: incoming weights drawn anew,
    outgoing weights and all optimizer state 0. The function stays too, as the units were dead; but incoming weights
    get no gradient at the next step, and Adam's first steps are 3.2 learning rates. `change.notes` says so.

    Args:
        model: The module; parameters, buffers and optimizer state are written in place.
        optimizer: What trains it.
        findings: A watch of the model, its diagnosis, or findings of it. Units that are only suspected dead, or put
            out anything on the batch, stay as they are.
        batch: As a loader yields it, targets and all. The model gets what its forward takes: of a tuple or list as many
            of the first entries as it requires, mostly one; of a mapping the entries that it names; anything else as
            the one argument. Of the training data, and large enough to show what units do (a training batch is).
        method: `exact`, `redo` or `continual`.
        forward: How to call the model otherwise: `lambda model, batch: model(batch["x"], batch["mask"])`.

    Returns:
        What was done: `units` by site, `refused` with the reasons, `notes`, and `undo()`, which is bit for bit until
        something trains and refuses afterwards.

    Raises:
        CannotRecycle: The optimizer's state is coupled or unknown, a site cannot be told, or for no site the wiring
            could be proved (residual sums, normalisation that mixes units, tied or computed weights, a layer that is
            used twice, depthwise convolutions, readers that are not known). Nothing has been changed.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
        >>> _ = model[0].bias.data[:3].fill_(-100)
        >>> optimizer, x = torch.optim.Adam(model.parameters()), torch.randn(4000, 5)
        >>> with rectifier.watch(model) as watch:
        ...     model(x).square().mean().backward()
        ...     optimizer.step()
        >>> before = model(x)
        >>> rectifier.recycle(model, optimizer, watch, batch=x)
        dead units → recycled (exact) in 1 place
          Sequential.1: 3 of 7 units, 2 in pairs and 1 split off a live unit
        >>> torch.allclose(model(x), before, atol=1e-6), (model[:2](x) > 0).float().mean(0)[:2].round(decimals=1)
        (True, tensor([0.5000, 0.5000]))

    Source: the median of live second moments and the pairs are ours; splitting a unit is Chen, Goodfellow & Shlens
    2016, arXiv:1511.05641, section 2.2. ReDo: Sokar, Agarwal, Castro & Evci 2023, arXiv:2302.12902, section 4.
    Continual backprop: Dohare et al. 2024, Nature 632, 768–774, Methods.
    """
    if method not in ("exact", *published.METHODS):
        raise CannotRecycle(f"method={method!r} is not known; there are 'exact', 'redo' and 'continual'.")
    inner = own_module(model, CannotRecycle)
    _refuse_ranks(model)
    optimizer = state.plain(optimizer)
    wanted = named.read(findings, inner)
    change = Recycled(method)
    change.record(notes=wanted.notes)
    if not wanted.units:
        change.record(notes=["There is no confirmed dead unit among the findings; nothing was changed."])
        return change
    work = _Work(Pass(inner, batch, forward, CannotRecycle), optimizer, method)
    try:
        work.do(wanted.units, change)
    except BaseException:
        work.ledger.back_to(0)
        raise
    if change.units:
        change.tell(inner, change.fact)
    return change


def _refuse_ranks(model: nn.Module) -> None:
    parallel = refusals.parallel_of(model)
    if parallel is None:
        return
    how = (
        "Write recycle(model.module, …) on every rank, with the same findings and the same batch"
        if parallel is refusals.Parallel.DISTRIBUTED
        else f"Recycle before {parallel.line}"
    )
    raise CannotRecycle(f"{parallel}: ranks would draw and place differently. {how}.")


class _Work:
    """One call of `recycle`."""

    def __init__(self, given: Pass, optimizer: Optimizer, method: str) -> None:
        self.ledger = Ledger()
        self._model, self._optimizer, self._method = given.model, optimizer, method
        self._lab = Laboratory(given)
        self._generator = torch.Generator().manual_seed(_fingerprint(given.model))
        self._done: list[tuple[Key, Wiring, list[int]]] = []

    def do(self, units: dict[Key, tuple[SiteRef, tuple[int, ...]]], change: Recycled) -> None:
        """Revive what is possible, from the input to the output, so that every layer sees what feeds it."""
        look = Watching()
        self._lab.outputs("training", look)
        order = dict(look.calls)
        refused: list[str] = []
        for key in sorted(units, key=lambda key: order.get(key, len(order))):
            site, dead = units[key]
            count = len(self.ledger.steps)
            try:
                self._site(key, site, list(dead), change)
            except CannotRecycle as reason:
                self.ledger.back_to(count)
                refused.append(f"{site}: {reason}")
        if refused and not self._done:
            more = f" And {len(refused) - _SHOWN} more." if len(refused) > _SHOWN else ""
            raise CannotRecycle(f"Nothing was recycled. {'. '.join(refused[:_SHOWN])}.{more}")
        change.refused = tuple(refused)
        change.record(notes=[f"Left as it was: {line}." for line in refused])
        if self._method == "exact":
            self._lab.renew("training")
        for key, wiring, revived in self._done if self._method == "exact" else ():
            if not self._reaches_output(key, wiring, revived):
                change.record(
                    notes=[
                        f"{wiring.label}: on this batch the revived units change no output, so they get no gradient "
                        "at the next step: what lies behind them was silent, too. They get one when that has learned."
                    ]
                )
        if self._method != "exact" and self._done:
            change.record(notes=published.notes(self._method, type(self._optimizer).__name__))
        for step in self.ledger.steps:
            step.settle()
            change.did(step)

    def _site(self, key: Key, site: SiteRef, dead: list[int], change: Recycled) -> None:
        wiring = find_wiring(self._lab, site.label, key)
        if dead and dead[-1] >= wiring.units:
            raise CannotRecycle(f"it has {wiring.units} units, and the findings name unit {dead[-1]}")
        state.refuse_untrained(self._optimizer, wiring)
        silent = [unit for unit in dead if float(wiring.highest[unit]) == 0]
        if not silent:
            raise CannotRecycle("all of the units named put out something on this batch: they are not dead")
        live = [unit for unit in torch.nonzero(wiring.fired).flatten().tolist() if unit not in set(dead)]
        self._prove(key, wiring, silent)
        if self._method == "exact":
            made = exact.cast(wiring, silent, live)
            if not made.revived:
                raise CannotRecycle(next(iter(made.left.values())))
            exact.revive(wiring, made, live, self.ledger, self._generator)
            revived, words, left = made.revived, _words(made), made.left
        else:
            published.reset_units(self._method, wiring, silent, self.ledger, self._generator)
            revived, words, left = silent, self._method, {}
        reset = self._method != "exact"
        state.reset(self._optimizer, wiring, revived, live, self.ledger, published=reset)
        firing = self._check(key, wiring)
        mute = [unit for unit in revived if float(firing[unit]) == 0]
        if mute and self._method == "exact":
            raise CannotRecycle(f"unit {mute[0]} fires nowhere on this batch with any new row: what feeds it is silent")
        self._done.append((key, wiring, revived))
        change.units[site.key] = tuple(revived)
        change.record([f"{site}: {len(revived)} of {wiring.units} units, {words}"])
        change.record(notes=self._notes(wiring, dead, silent, left, mute, live))

    def _notes(
        self, wiring: Wiring, dead: list[int], silent: list[int], left: dict[int, str], mute: list[int], live: list[int]
    ) -> list[str]:
        said = []
        if fire := [unit for unit in dead if unit not in set(silent)]:
            said.append(f"{wiring.label}: {_units(fire)} put out something on this batch, so not dead, and stay.")
        for unit, reason in left.items():
            said.append(f"{wiring.label}: unit {unit} stays dead: {reason}.")
        if mute:
            said.append(f"{wiring.label}: {_units(mute)} do not fire on this batch with the new row, either.")
        if wiring.noisy and self._method == "exact":
            said.append(
                f"{wiring.label}: dropout hits the units of a pair separately; in training the sums that they take "
                "part in stay the same in the mean, in evaluation exactly."
            )
        if not live and self._method == "exact":
            said.append(
                f"{wiring.label}: no unit is alive to take the optimizer's scale from; the largest entry left was "
                "taken, and an adaptive optimizer's first steps may be up to 3 times those of other layers."
            )
        return said

    def _prove(self, key: Key, wiring: Wiring, units: list[int]) -> None:
        """With the named outgoing weights at 0, no value of the units may reach an output."""
        count = len(self.ledger.steps)
        for unit in units:
            for slot in wiring.outgoing(unit):
                self.ledger.write(slot, 0.0)
        own = torch.Generator().manual_seed(_fingerprint(self._model))
        size = max(1.0, float(wiring.amount.max()))

        def stir(output: Tensor) -> None:
            view = output.movedim(wiring.axis, -1)
            values = torch.rand((*view.shape[:-1], len(units)), generator=own) + 0.5
            view[..., units] = (size * values).to(device=output.device, dtype=output.dtype)

        try:
            for mode in self._lab.modes:
                moved = self._lab.moved(mode, Watching(key, stir))
                if not moved <= self._lab.tolerance:
                    names = ", ".join(layer.names[0] for layer, _ in wiring.readers)
                    raise CannotRecycle(
                        f"something besides {names} reads it: with their weights for the dead units at 0 the output "
                        f"still follows these units (by {moved:.1e} of its size, in {mode})"
                    )
        finally:
            self.ledger.back_to(count)

    def _check(self, key: Key, wiring: Wiring) -> Tensor:
        """See that the function is the same; returns where the units fire now."""
        for mode in self._lab.modes:
            seen = Watching(key)
            moved = self._lab.moved(mode, seen)
            noise = wiring.noisy and mode == "training" and "evaluation" in self._lab.modes
            if noise:
                self._lab.renew(mode)
            elif not moved <= self._lab.tolerance:
                raise CannotRecycle(
                    f"the outputs on the batch would move by {moved:.1e} of their size in {mode}; "
                    f"{self._lab.tolerance:.0e} is allowed"
                )
            if mode == "training":
                assert seen.values is not None
                firing = (seen.values.movedim(wiring.axis, -1).reshape(-1, wiring.units) > 0).sum(0)
        return firing

    def _reaches_output(self, key: Key, wiring: Wiring, revived: list[int]) -> bool:
        """Whether one of the revived units, moved by itself, moves an output."""

        def move(output: Tensor) -> None:
            output.movedim(wiring.axis, -1)[..., revived[:1]] *= 1.25

        return self._lab.moved("training", Watching(key, move)) > 0


def _words(made: exact.Cast) -> str:
    triples = sum(len(together) for together in made.sets if len(together) == 3)
    pairs = sum(len(together) for together in made.sets) - triples
    parts = [f"{pairs} in pairs"] if pairs else []
    parts += [f"{triples} as a triple" if triples == 3 else f"{triples} in triples"] if triples else []
    if made.splits:
        parts.append(f"{len(made.splits)} split off a live unit")
    return listed(parts)


def _units(units: list[int]) -> str:
    shown = ", ".join(str(unit) for unit in units[:_SHOWN])
    return f"unit{'s' if len(units) > 1 else ''} {shown}{', …' if len(units) > _SHOWN else ''}"


def _fingerprint(model: nn.Module) -> int:
    """A seed that is the same for the same weights, and another one at every step of a training."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        head = parameter.detach().reshape(-1)[:64].double().cpu()
        digest.update(name.encode() + head.numpy().tobytes())
    return int.from_bytes(digest.digest()[:7], "big")
