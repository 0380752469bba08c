"""How numbers, steps and the loss are written in findings."""

from dataclasses import dataclass

from rectifier._formatting import percent
from rectifier.records import Consequence, Finding, LossPath, WholeSilence
from rectifier.report.sentences.fixes import Text, typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What is said of a finding.

    Attributes:
        title: One line.
        detail: One or two sentences: since when, on how many samples, with which bound.
        cause: Why, in one sentence with its numbers.
        to_do: What to do, mildest first, and what to expect from it: sentence by sentence.
        name_first: Whether the title begins with a name, which keeps its own first letter.
        script: The user's script and its options, for what is to be typed; empty where they are not known.
    """

    title: str
    detail: str
    cause: str
    to_do: tuple[Text, ...] = ()
    name_first: bool = False
    script: tuple[str, ...] = ()

    @property
    def advised(self) -> tuple[str, ...]:
        """What to do, sentence by sentence, with the commands as they are typed."""
        return tuple(typed(text, self.script) for text in self.to_do)

    @property
    def advice(self) -> str:
        """What to do, in one paragraph."""
        return " ".join(self.advised)

    @property
    def heading(self) -> str:
        """The title as a heading."""
        return self.title if self.name_first else capital(self.title)


def times(factor: float) -> str:
    """`40 times`, `0.8 times`."""
    return f"{factor:.0f} times" if 10 <= factor < 100_000 else f"{factor:.2g} times"


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


def none_has_fired(silence: WholeSilence) -> str:
    """Since when a whole layer is silent: `has fired after step 40 (known to within 8 steps)`."""
    if silence.last_fired < 0:
        first = silence.first_observed_step
        return "has ever fired" if first == 0 else f"has fired since step {first:,}, the first observed"
    gap = silence.known_within_steps
    return f"has fired after step {silence.last_fired:,}" + (f" (known to within {gap:,} steps)" if gap > 1 else "")


def update_words(size: float, factor: float, *, median_known: bool) -> str:
    """How large an update was: `4% of their norm, 40 times the median of the steps before`.

    Args:
        size: ‖Δw‖/‖w‖.
        factor: Times its running median.
        median_known: Whether there were enough steps before for that to tell anything.
    """
    text = f"{percent(size)} of their norm"
    if not median_known:
        return text
    return (
        f"{text}, as the steps before it did"
        if factor < 2
        else f"{text}, {times(factor)} the median of the steps before"
    )


def loss_words(loss: LossPath | None) -> str:
    """`the loss went from 2.31 to 2.29 in 200 steps`."""
    assert loss is not None
    assert loss.loss_start is not None
    assert loss.loss_end is not None
    return f"the loss went from {loss.loss_start:.4g} to {loss.loss_end:.4g} in {loss.loss_steps:,} steps"


def no_progress(finding: Finding) -> str:
    """A sentence after a space where training does not progress, nothing otherwise."""
    if finding.consequence is not Consequence.NO_PROGRESS:
        return ""
    return f" Training does not progress: {loss_words(finding.loss)}."


def input_scale(rms: float) -> str:
    """That the inputs are on a large scale."""
    return f"input scale: the root mean square of the inputs is {rms:.3g}"
