"""Which treatments the findings call for, mildest first, and why others are left out."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from torch.optim import Optimizer

from rectifier.catalogue import parse
from rectifier.errors import CannotPrescribe
from rectifier.records import (
    BornDead,
    CauseKind,
    DeadUnits,
    Diagnosis,
    Finding,
    GradientWay,
    LeftOut,
    Rule,
    RungFacts,
    RungKind,
    SiteRef,
    WhyLeftOut,
)
from rectifier.treatment.prescription import Prescription, Rung
from rectifier.treatment.recycling import recycle
from rectifier.treatment.rescaling import rescale
from rectifier.treatment.swapping.swap import swap

SLOPE = 0.1
"""What the ladder swaps to: 0.01 leaves the size of a gradient as it is, 0.1 to 0.3 moves hard problems."""

_SCALES = (Rule.VANISHING_GRADIENT, Rule.EXPLODING_GRADIENT)
_SLOPED = ("relu", "relu6")
"""What a Leaky ReLU can stand in for, its left side being what is flat."""


def prescribe(findings: "Finding | Iterable[Finding] | Diagnosis | Any") -> Prescription:
    """Put together the ladder of treatments for what was found, without texts; `rectifier.prescribe` has them.

    Args:
        findings: A watch, its diagnosis, or findings of it.

    Raises:
        CannotPrescribe: These are no findings.
    """
    return _Ladder(*_read(findings)).prescription()


def _read(findings: Any) -> tuple[list[Finding], dict[SiteRef, str]]:
    """The findings, and the activation of every site that is known."""
    if hasattr(findings, "diagnose"):
        findings = findings.diagnose()
    activations: dict[SiteRef, str] = {}
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

    def __init__(self, findings: list[Finding], activations: dict[SiteRef, str]) -> None:
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
        self._omitted: dict[str, LeftOut] = {}

    def prescription(self) -> Prescription:
        rungs = [*self._advice(), *self._slopes(), *self._rescale(), *self._recycle()]
        return Prescription(tuple(rungs), self._omitted if self._findings else {})

    def _leave_out(self, name: str, why: WhyLeftOut, activation: str = "") -> None:
        self._omitted[name] = LeftOut(why=why, activation=activation)

    @property
    def _harmless(self) -> WhyLeftOut:
        return WhyLeftOut.INFORMATION_ONLY if self._dead else WhyLeftOut.NO_DEAD_UNIT

    def _advice(self) -> Iterator[Rung]:
        alarms = [finding for finding in self._findings if finding.severity != "info"]
        if self._findings:
            yield Rung(RungFacts(kind=RungKind.ADVICE, findings=tuple(alarms or self._findings)), None)

    def _slopes(self) -> Iterator[Rung]:
        """A leak in the backward pass only, then in both."""
        if not self._ill:
            why = WhyLeftOut.SCALE_OF_GRADIENTS if self._by_scale else self._harmless
            for kind in (RungKind.SURROGATE_GRADIENT, RungKind.SWAP):
                self._leave_out(kind, why)
            return
        by_activation: dict[str, list[SiteRef]] = {}
        for finding in self._ill:
            assert isinstance(finding.site, SiteRef)
            by_activation.setdefault(self._activation_of(finding), []).append(finding.site)
        others = [old for old in by_activation if old not in _SLOPED]
        for old in others:
            name = RungKind.SWAP if len(others) == len(by_activation) else f"{RungKind.SWAP} of {old}"
            self._leave_out(name, WhyLeftOut.NO_LEAKY_RELU, old)
        if "relu" in by_activation:
            yield self._swapped(
                RungKind.SURROGATE_GRADIENT, "relu", f"surrogate_gradient:{SLOPE}", by_activation["relu"]
            )
        else:
            self._leave_out(RungKind.SURROGATE_GRADIENT, WhyLeftOut.NO_RELU)
        for old in _SLOPED:
            if old in by_activation:
                yield self._swapped(RungKind.SWAP, old, f"leaky_relu:{SLOPE}", by_activation[old])

    def _swapped(self, kind: RungKind, old: str, new: str, sites: list[SiteRef]) -> Rung:
        meant = [finding for finding in self._ill if self._activation_of(finding) == old]
        every = {site for site, activation in self._activations.items() if activation == old}
        places = dict.fromkeys(replace(site, call=0).key for site in sites)
        where = () if every and every <= set(sites) else tuple(places)
        return Rung(
            RungFacts(kind=kind, sites=tuple(sites), old=old, new=new, where=where),
            lambda model, optimizer, batch, forward: swap(model, old, new, where=meant),
        )

    def _rescale(self) -> Iterator[Rung]:
        born = any(isinstance(finding.cause.facts, BornDead) for finding in self._ill)
        if not (born or self._by_scale):
            self._leave_out(RungKind.RESCALE, WhyLeftOut.SCALE_NOT_WRONG)
            return
        yield Rung(
            RungFacts(kind=RungKind.RESCALE, born_dead=born),
            lambda model, optimizer, batch, forward: rescale(model, batch, optimizer=optimizer, forward=forward),
            ("model", "batch"),
        )

    def _recycle(self) -> Iterator[Rung]:
        found = [(finding, finding.evidence) for finding in self._ill]
        dead = [(finding, units) for finding, units in found if isinstance(units, DeadUnits) and units.dead]
        confirmed = [finding for finding, _ in dead]
        if not confirmed:
            self._leave_out(RungKind.RECYCLE, WhyLeftOut.ONLY_SUSPECTED if self._ill else self._harmless)
            return
        yield Rung(
            RungFacts(
                kind=RungKind.RECYCLE,
                sites=tuple(finding.site for finding in confirmed if isinstance(finding.site, SiteRef)),
                units=sum(units.dead for _, units in dead),
            ),
            lambda model, optimizer, batch, forward: recycle(
                model, _known(optimizer), confirmed, batch=batch, forward=forward
            ),
            ("model", "optimizer", "batch"),
        )

    def _activation_of(self, finding: Finding) -> str:
        evidence = finding.evidence
        known = evidence.activation if isinstance(evidence, DeadUnits) else "relu"
        told = self._activations.get(finding.site, known) if isinstance(finding.site, SiteRef) else known
        return parse(told).activation.name if told in _SLOPED else told


def _known(optimizer: Optimizer | None) -> Optimizer:
    assert optimizer is not None
    return optimizer
