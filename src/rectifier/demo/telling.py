"""What the demonstration prints before the comparison: what it trains, and what died of it."""

from collections.abc import Sequence

from rich.console import Console

from rectifier._formatting import counted, percent
from rectifier.comparison.models.deaths import Deaths, first_silent_layer
from rectifier.records import Cause, Diagnosis, FailureKind, Process, Trial

BASELINE = "relu"
HIDDEN_LAYERS, WIDTH = 20, 8


def print_opening(console: Console, seeds: int, epochs: int) -> None:
    """Say what is going to be trained."""
    console.print("A deep, plain ReLU network on handwritten digits", style="bold")
    console.print(
        f"{HIDDEN_LAYERS} hidden layers of {WIDTH} units, He-normal weights, zero biases, Adam, {epochs} epochs; "
        f"{seeds} trainings per activation, each from its own random weights, on 1,400 images.\n",
        highlight=False,
    )


def print_deaths(
    console: Console,
    trials: Sequence[Trial],
    deaths: Deaths,
    diagnoses: Sequence[Diagnosis],
    processes: Sequence[Process],
) -> None:
    """Say what happened under the baseline.

    Args:
        console: Where the text goes.
        trials: Of the baseline, in the order of their seeds.
        deaths: What fell silent.
        diagnoses: One for each trial.
        processes: Likewise.
    """

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    console.print("What happened under ReLU", style="bold")
    constant = [trial for trial in trials if _failed_by(trial, FailureKind.CONSTANT_OUTPUT)]
    if constant:
        say(
            f"{len(constant)} of {len(trials)} trainings ended as a constant: they give every test image the "
            f"same answer, with an accuracy of {_range([trial.metric for trial in constant])}."
        )
    else:
        say(f"None of the {len(trials)} trainings ended as a constant.")
    if diverged := sum(_failed_by(trial, FailureKind.DIVERGED) for trial in trials):
        say(f"{diverged} of {len(trials)} ended with numbers that are not finite.")
    dead = sorted(trial.dead_fraction for trial in trials if trial.dead_fraction is not None)
    if dead:
        say(
            f"At the end {percent(dead[len(dead) // 2])} of all units are dead in the median training (from "
            f"{percent(dead[0])} to {percent(dead[-1])}): they fire on none of the 1,400 training images."
        )
    say(_silent_layers(deaths, processes))
    if (others := len(constant) - len(deaths.layers)) > 0:
        say(f"In {others} of the constant ones every layer still has a unit that fires on some image.")
    for cause, count in _causes(diagnoses, processes):
        whose = "" if count == 1 else " (the numbers are those of the first)"
        say(f"Why, in {count} of {len(deaths.layers)}: {cause}{whose}.")


def _failed_by(trial: Trial, kind: FailureKind) -> bool:
    return trial.failed is not None and trial.failed.kind is kind


def _silent_layers(deaths: Deaths, processes: Sequence[Process]) -> str:
    when = deaths.last_fired
    if when is None:
        return "No whole layer fell silent."
    layers = ", ".join(f"{label} ({counted(count, 'training')})" for label, count in deaths.by_layer)
    steps = processes[0].snapshots[-1].cost.steps
    interval = max(layer.interval for layer in deaths.layers)
    first, median, last = (_step(step) for step in when)
    return (
        f"A whole layer fell silent in {len(deaths.layers)} of {deaths.runs} trainings, and no gradient has passed "
        f"below it since. The first to go: {layers}. Such a layer last fired {median} of {steps} (median; earliest "
        f"{first}, latest {last}; known to within {interval} steps)."
    )


def _step(step: int) -> str:
    return "never" if step < 0 else f"at step {step}"


def _range(values: Sequence[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return "no number"
    low, high = f"{known[0]:.3f}", f"{known[-1]:.3f}"
    return low if low == high else f"{low} to {high}"


def _causes(diagnoses: Sequence[Diagnosis], processes: Sequence[Process]) -> list[tuple[str, int]]:
    """The diagnosis's own words on the first silent layers, those of one cause together, with the first's numbers."""
    from rectifier.report.sentences import describe  # noqa: PLC0415 (--help needs it not)

    told: dict[object, list[str]] = {}
    for process, diagnosis in zip(processes, diagnoses, strict=True):
        layer = first_silent_layer(process)
        if layer is not None:
            of_layer = [f for f in diagnosis.findings if f.site is not None and f.site.label == layer.label]
            cause = of_layer[0].cause if of_layer else Cause()
            alike = (cause.kind, type(cause.facts))
            told.setdefault(alike, []).append(describe(of_layer[0]).cause if of_layer else "cause unknown")
    return sorted(((causes[0], len(causes)) for causes in told.values()), key=lambda told: -told[1])
