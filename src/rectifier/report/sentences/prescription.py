"""What each prescribed treatment changes, what it loses, what to expect of it; and why others are left out."""

from collections.abc import Sequence

from rectifier._formatting import counted, listed, percent
from rectifier.catalogue import parse
from rectifier.records import Finding, LeftOut, RungFacts, RungKind, RungTexts, SiteRef, WhyLeftOut
from rectifier.report.sentences import describe, fixes

_WHERE_IT_HELPS = (
    "Where units die it often helps: on |x| with 10 layers of width 2, 94% of trainings collapse with ReLU and 28% "
    "with slope 0.01 (500 seeds each); on the slowly changing problem of Dohare et al. 2024 the error ends at 1.37 "
    "with ReLU, 1.24 with slope 0.01 and .76 with 0.1. Elsewhere it usually changes nothing: ImageNet top-1 .471 with "
    "ReLU, .469 with slope 1/3, and with batch normalisation .499 with ReLU, .503 with PReLU (Mishkin et al. 2017). "
    "Compare before you believe it."
)

_LEFT_OUT = {
    WhyLeftOut.NO_DEAD_UNIT: "no unit is dead",
    WhyLeftOut.INFORMATION_ONLY: "the silent units are information only: alone they do no harm",
    WhyLeftOut.SCALE_OF_GRADIENTS: (
        "a slope alone hardly helps: at initialisation the squared gradient changes per layer in proportion to "
        "(1 + slope²)/2, which is .50 for ReLU, .50 at slope 0.01 and .55 at 0.3"
    ),
    WhyLeftOut.NO_RELU: "it computes ReLU, and these layers do not",
    WhyLeftOut.SCALE_NOT_WRONG: "the scale of the initial weights is not what was found to be wrong",
    WhyLeftOut.ONLY_SUSPECTED: "its units are only suspected dead: show it more distinct samples first",
}


def why_left_out(left: LeftOut) -> str:
    """Why a treatment is not on the ladder, for the end of a sentence."""
    if left.why is WhyLeftOut.NO_LEAKY_RELU:
        return f"no Leaky ReLU stands in for {left.activation}"
    return _LEFT_OUT[left.why]


def rung_texts(rung: RungFacts) -> RungTexts:
    """What is said of a treatment.

    Example:
        >>> rung_texts(RungFacts(kind=RungKind.SWAP, old="relu6", new="leaky_relu:0.1", where=("fc1",))).code
        "rectifier.swap(model, 'relu6', 'leaky_relu:0.1', where=['fc1'])"
    """
    return _WRITERS[rung.kind](rung)


def advice_of(findings: Sequence[Finding]) -> tuple[str, ...]:
    """What to do about the findings, each advice once."""
    return tuple(dict.fromkeys(text for finding in findings if (text := describe(finding).advice)))


def _advice(rung: RungFacts) -> RungTexts:
    advised = advice_of(rung.findings)
    commands = [
        fixes.fix_text(fix.kind) for finding in rung.findings if finding.severity != "info" for fix in finding.fixes
    ]
    return RungTexts(
        changes="nothing of the model",
        loses="nothing",
        cost="none here",
        expect=" ".join(advised),
        code=f"# {commands[0]}" if commands else "# nothing to type",
        advised=advised,
    )


def _surrogate_gradient(rung: RungFacts) -> RungTexts:
    slope = parse(rung.new).parameter
    assert slope is not None
    return RungTexts(
        changes=f"the backward pass of relu in {_named(rung.sites)}: {percent(slope)} of the gradient passes, not none",
        loses="the gradient is no longer the derivative of what is computed; every output stays, bit for bit",
        cost="none at once; a step calls Python once more for each layer",
        expect="Every dead unit gets a gradient at the next step, and may come back or not: a step against it need "
        "not lower the loss.",
        code=_swap_line(rung),
    )


def _swap(rung: RungFacts) -> RungTexts:
    return RungTexts(
        changes=f"{rung.old} becomes {rung.new} in {_named(rung.sites)}",
        loses="the function: outputs move at once, most where units were silent"
        + (", and what was cut off above 6 no longer is" if rung.old == "relu6" else ""),
        cost="none: keys of the state dict stay, and a Leaky ReLU costs what a ReLU does",
        expect=_WHERE_IT_HELPS,
        code=_swap_line(rung),
    )


def _rescale(rung: RungFacts) -> RungTexts:
    limits = (
        " A unit whose bias is 0 keeps the sign of its input, so that what was born dead without biases stays so."
        if rung.born_dead
        else ""
    )
    return RungTexts(
        changes="the size of initial weights, layer by layer, to the gain of the activation that each reads",
        loses="whatever was learned: it is for a model that has not been trained, and refuses one that has",
        cost="a few forwards and backwards on the batch, and a copy of the weights until the change is let go",
        expect="The mean square of the signal stays what it is from layer to layer (He et al. 2015; measured where "
        f"branches meet: Mishkin & Matas 2016).{limits}",
        code="rectifier.rescale(model, batch, optimizer=optimizer)  # before the first step",
    )


def _recycle(rung: RungFacts) -> RungTexts:
    return RungTexts(
        changes=f"{counted(rung.units, 'dead unit')} in {_named(rung.sites)}: new weights, in pairs "
        "that cancel, and the optimizer's state of exactly these entries",
        loses="the old weights of these units; outputs on the batch stay to 1e-5",
        cost="several forwards on the batch for each layer, and nothing at later steps",
        expect="They learn from the next step on. Without its cause taken away first they die again.",
        code="rectifier.recycle(model, optimizer, watch, batch=batch)",
    )


_WRITERS = {
    RungKind.ADVICE: _advice,
    RungKind.SURROGATE_GRADIENT: _surrogate_gradient,
    RungKind.SWAP: _swap,
    RungKind.RESCALE: _rescale,
    RungKind.RECYCLE: _recycle,
}


def _swap_line(rung: RungFacts) -> str:
    """The call, with the places unless they are all that there are."""
    where = f", where={list(rung.where)}" if rung.where else ""
    return f"rectifier.swap(model, {rung.old!r}, {rung.new!r}{where})"


def _named(sites: Sequence[SiteRef]) -> str:
    return listed([str(site) for site in sites], 3, "more layers")
