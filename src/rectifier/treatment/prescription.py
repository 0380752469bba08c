"""The ladder of treatments for a diagnosis, mildest first: what each changes, what it loses, what to expect of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

from torch import nn
from torch.optim import Optimizer

from rectifier._formatting import listed, percent
from rectifier.catalogue import parse
from rectifier.errors import CannotPrescribe
from rectifier.records import (
    BornDead,
    CauseKind,
    DeadUnits,
    Diagnosis,
    Finding,
    GradientWay,
    ParameterRef,
    Rule,
    SiteRef,
)
from rectifier.sandbox import Forward
from rectifier.treatment.change import Change
from rectifier.treatment.recycling import recycle
from rectifier.treatment.rescaling import rescale
from rectifier.treatment.swapping.swap import swap

SLOPE = 0.1
"""What the ladder swaps to: 0.01 leaves the size of a gradient as it is, 0.1 to 0.3 moves hard problems."""

_SCALES = (Rule.VANISHING_GRADIENT, Rule.EXPLODING_GRADIENT)
_SLOPED = ("relu", "relu6")
"""What a Leaky ReLU can stand in for, its left side being what is flat."""

_WHERE_IT_HELPS = (
    "Where units die it often helps: on |x| with 10 layers of width 2, 94% of trainings collapse with ReLU and 28% "
    "with slope 0.01 (500 seeds each); on the slowly changing problem of Dohare et al. 2024 the error ends at 1.37 "
    "with ReLU, 1.24 with slope 0.01 and .76 with 0.1. Elsewhere it usually changes nothing: ImageNet top-1 .471 with "
    "ReLU, .469 with slope 1/3, and with batch normalisation .499 with ReLU, .503 with PReLU (Mishkin et al. 2017). "
    "Compare before you believe it."
)
_NOT_FOR_SCALE = (
    "a slope alone hardly helps: at initialisation the squared gradient changes per layer in proportion to "
    "(1 + slope²)/2, which is .50 for ReLU, .50 at slope 0.01 and .55 at 0.3"
)
_INFORMATION = "the silent units are information only: alone they do no harm"

Do = Callable[[nn.Module, Optimizer | None, Any, Forward | None], Change]


@dataclass(frozen=True, slots=True)
class Rung:
    """One treatment.

    Attributes:
        name: `advice`, `surrogate_gradient`, `swap`, `rescale` or `recycle`.
        changes: What is altered, and where.
        loses: What does not stay as it was.
        cost: What it takes, once and at every step.
        expect: What the evidence lets one expect.
        code: The line of Python that does it, with `model`, `optimizer`, `watch` and `batch` as you call them.
    """

    name: str
    changes: str
    loses: str
    cost: str
    expect: str
    code: str
    _do: Do = field(repr=False)
    _needs: tuple[str, ...] = ("model",)

    def apply(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        batch: Any = None,
        *,
        forward: Forward | None = None,
    ) -> Change:
        """Do it.

        Args:
            model: The module that was diagnosed.
            optimizer: What trains it.
            batch: As a loader yields it, targets and all; see `rescale`.
            forward: How to call the model on it otherwise.

        Returns:
            What was done, with `undo()`; for `advice`, which is yours to follow, a change of nothing.

        Raises:
            CannotPrescribe: The rung needs an optimizer or a batch.
            CannotSwap: Or CannotRescale, CannotRecycle: the model does not allow it; nothing has been changed.
        """
        given = {"model": model, "optimizer": optimizer, "batch": batch}
        missing = [name for name in self._needs if given[name] is None]
        if missing:
            raise CannotPrescribe(
                f"{self.name} needs {listed(missing)}: write rung.apply(model, optimizer, batch), with a batch "
                "as your loader yields it."
            )
        return self._do(model, optimizer, batch, forward)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.changes}", f"loses: {self.loses}", f"cost: {self.cost}"]
        return "\n   ".join([*lines, f"expect: {self.expect}", f">>> {self.code}"])


@dataclass(frozen=True, slots=True, repr=False)
class Prescription(Sequence[Rung]):
    """The ladder for one diagnosis: climb it from the top, and stop where training goes on.

    Attributes:
        rungs: Mildest first.
        left_out: Treatment -> why it is not on this ladder.
    """

    rungs: tuple[Rung, ...]
    left_out: dict[str, str]

    @overload
    def __getitem__(self, index: int) -> Rung: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Rung, ...]: ...
    @overload
    def __getitem__(self, index: str) -> Rung: ...
    def __getitem__(self, index: int | slice | str) -> Rung | tuple[Rung, ...]:
        if not isinstance(index, str):
            return self.rungs[index]
        found = next((rung for rung in self.rungs if rung.name == index), None)
        if found is None:
            reason = f": {self.left_out[index]}" if index in self.left_out else ""
            names = ", ".join(rung.name for rung in self.rungs) or "nothing"
            raise CannotPrescribe(f"{index!r} is not on this ladder{reason}. On it: {names}.")
        return found

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    def __len__(self) -> int:
        return len(self.rungs)

    def __repr__(self) -> str:
        lines = [f"{number}. {rung}" for number, rung in enumerate(self.rungs, start=1)]
        lines += [f"not {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)


def prescribe(findings: "Finding | Iterable[Finding] | Diagnosis | Any") -> Prescription:
    """Put together the ladder of treatments for what was found; `rectifier.prescribe` tells of it.

    Args:
        findings: A watch, its diagnosis, or findings of it, with their texts, which the first rung repeats.

    Raises:
        CannotPrescribe: These are no findings.
    """
    return _Ladder(*_read(findings)).prescription()


def _read(findings: Any) -> tuple[list[Finding], dict[str, str]]:
    """The findings, and the activation of every site that is known."""
    if hasattr(findings, "diagnose"):
        findings = findings.diagnose()
    activations: dict[str, str] = {}
    if isinstance(findings, Diagnosis):
        activations = {layer.site: layer.activation for layer in findings.layers}
        findings = findings.findings
    listed = [*findings] if isinstance(findings, Iterable) else [findings]
    if not all(isinstance(finding, Finding) for finding in listed):
        raise CannotPrescribe(
            "prescribe takes what a watch found: prescribe(watch), watch.diagnose(), or a list of its findings."
        )
    return listed, activations


class _Ladder:
    """Decides which rungs the findings call for."""

    def __init__(self, findings: list[Finding], activations: dict[str, str]) -> None:
        self._findings, self._activations = findings, activations
        constant = any(finding.rule is Rule.CONSTANT_NETWORK for finding in findings)
        self._dead = [finding for finding in findings if finding.rule is Rule.DEAD_UNITS]
        # Layers that died in part are told as information where the whole network is known to be constant.
        self._ill = [
            finding
            for finding in self._dead
            if finding.severity != "info" or (constant and finding.cause.kind is not CauseKind.UPSTREAM)
        ]
        self._by_scale = [f for f in findings if f.rule in _SCALES and isinstance(f.evidence, GradientWay)]
        self._left_out: dict[str, str] = {}

    def prescription(self) -> Prescription:
        rungs = [*self._advice(), *self._slopes(), *self._rescale(), *self._recycle()]
        return Prescription(tuple(rungs), self._left_out)

    def _advice(self) -> Iterator[Rung]:
        alarms = [finding for finding in self._findings if finding.severity != "info"]
        texts = list(dict.fromkeys(f.advice for f in alarms or self._findings if f.advice))
        if not texts:
            return
        commands = [fix.text for finding in alarms for fix in finding.fixes]
        yield Rung(
            name="advice",
            changes="nothing of the model",
            loses="nothing",
            cost="none here",
            expect=" ".join(texts),
            code=f"# {commands[0]}" if commands else "# nothing to type",
            _do=lambda model, optimizer, batch, forward: _nothing(texts),
        )

    def _slopes(self) -> Iterator[Rung]:
        """A surrogate gradient, then a slope in both directions."""
        if not self._ill:
            reason = _INFORMATION if self._dead else "no unit is dead"
            if self._by_scale:
                reason = _NOT_FOR_SCALE
            if self._findings:
                self._left_out |= dict.fromkeys(("surrogate_gradient", "swap"), reason)
            return
        by_activation: dict[str, list[SiteRef]] = {}
        for finding in self._ill:
            assert isinstance(finding.site, SiteRef)
            by_activation.setdefault(self._activation_of(finding), []).append(finding.site)
        others = [old for old in by_activation if old not in _SLOPED]
        for old in others:
            name = "swap" if len(others) == len(by_activation) else f"swap of {old}"
            self._left_out[name] = f"no Leaky ReLU stands in for {old}"
        if "relu" in by_activation:
            yield self._surrogate_gradient(by_activation["relu"])
        else:
            self._left_out["surrogate_gradient"] = "it computes ReLU, and these layers do not"
        for old in _SLOPED:
            if old in by_activation:
                yield self._swap(old, by_activation[old])

    def _surrogate_gradient(self, sites: list[SiteRef]) -> Rung:
        new = f"surrogate_gradient:{SLOPE}"
        return Rung(
            name="surrogate_gradient",
            changes=f"the backward pass of relu in {_named(sites)}: {percent(SLOPE)} of the gradient passes, not none",
            loses="the gradient is no longer the derivative of what is computed; every output stays, bit for bit",
            cost="none at once; a step calls Python once more for each layer",
            expect="Every dead unit gets a gradient at the next step, and may come back or not: a step against it need "
            "not lower the loss.",
            code=self._line("relu", new, sites),
            _do=lambda model, optimizer, batch, forward: swap(model, "relu", new, where=self._meant("relu")),
        )

    def _swap(self, old: str, sites: list[SiteRef]) -> Rung:
        new = f"leaky_relu:{SLOPE}"
        return Rung(
            name="swap",
            changes=f"{old} becomes {new} in {_named(sites)}",
            loses="the function: outputs move at once, most where units were silent"
            + (", and what was cut off above 6 no longer is" if old == "relu6" else ""),
            cost="none: keys of the state dict stay, and a Leaky ReLU costs what a ReLU does",
            expect=_WHERE_IT_HELPS,
            code=self._line(old, new, sites),
            _do=lambda model, optimizer, batch, forward: swap(model, old, new, where=self._meant(old)),
        )

    def _rescale(self) -> Iterator[Rung]:
        born = [finding for finding in self._ill if isinstance(finding.cause.facts, BornDead)]
        if not (born or self._by_scale):
            if self._findings:
                self._left_out["rescale"] = "the scale of the initial weights is not what was found to be wrong"
            return
        limits = (
            " A unit whose bias is 0 keeps the sign of its input, so that what was born dead without biases stays so."
            if born
            else ""
        )
        yield Rung(
            name="rescale",
            changes="the size of initial weights, layer by layer, to the gain of the activation that each reads",
            loses="whatever was learned: it is for a model that has not been trained, and refuses one that has",
            cost="a few forwards and backwards on the batch, and a copy of the weights until the change is let go",
            expect="The mean square of the signal stays what it is from layer to layer (He et al. 2015; measured where "
            f"branches meet: Mishkin & Matas 2016).{limits}",
            code="rectifier.rescale(model, batch, optimizer=optimizer)  # before the first step",
            _do=lambda model, optimizer, batch, forward: rescale(model, batch, optimizer=optimizer, forward=forward),
            _needs=("model", "batch"),
        )

    def _recycle(self) -> Iterator[Rung]:
        found = [(finding, finding.evidence) for finding in self._ill]
        dead = [(finding, units) for finding, units in found if isinstance(units, DeadUnits) and units.dead]
        confirmed = [finding for finding, _ in dead]
        if not confirmed:
            if self._findings:
                suspected = "its units are only suspected dead: show it more distinct samples first"
                harmless = _INFORMATION if self._dead else "no unit is dead"
                self._left_out["recycle"] = suspected if self._ill else harmless
            return
        count = sum(units.dead for _, units in dead)
        yield Rung(
            name="recycle",
            changes=f"{count} dead unit{'s' if count > 1 else ''} in {_named([f.site for f in confirmed])}: new "
            "weights, in pairs that cancel, and the optimizer's state of exactly these entries",
            loses="the old weights of these units; outputs on the batch stay to 1e-5",
            cost="several forwards on the batch for each layer, and nothing at later steps",
            expect="They learn from the next step on. Without its cause taken away first they die again.",
            code="rectifier.recycle(model, optimizer, watch, batch=batch)",
            _do=lambda model, optimizer, batch, forward: recycle(
                model, _known(optimizer), confirmed, batch=batch, forward=forward
            ),
            _needs=("model", "optimizer", "batch"),
        )

    def _activation_of(self, finding: Finding) -> str:
        evidence = finding.evidence
        known = evidence.activation if isinstance(evidence, DeadUnits) else "relu"
        told = self._activations.get(finding.site.label, known) if finding.site is not None else known
        return parse(told).activation.name if told in _SLOPED else told

    def _meant(self, old: str) -> list[Finding]:
        return [finding for finding in self._ill if self._activation_of(finding) == old]

    def _line(self, old: str, new: str, sites: list[SiteRef]) -> str:
        """The call, with the places unless they are all that there are."""
        every = {site for site, activation in self._activations.items() if activation == old}
        places = list(dict.fromkeys(replace(site, call=0).label for site in sites))
        where = "" if every and every <= {site.label for site in sites} else f", where={places}"
        return f"rectifier.swap(model, {old!r}, {new!r}{where})"


def _named(sites: Sequence[SiteRef | ParameterRef | None]) -> str:
    return listed([str(site) for site in sites], 3, "more layers")


def _nothing(texts: list[str]) -> Change:
    change = Change("advice", "nothing")
    change.record(notes=texts)
    return change


def _known(optimizer: Optimizer | None) -> Optimizer:
    assert optimizer is not None
    return optimizer
