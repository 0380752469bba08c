"""`rectifier demo`: a deep ReLU network dies on real digits, is explained, treated, and compared.

Nothing is scripted. Every number and every sentence comes from the trainings that run while you watch.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rectifier.comparison.models.deaths import Deaths, summarise_deaths
from rectifier.demo.telling import BASELINE, HIDDEN_LAYERS, WIDTH, print_deaths, print_opening
from rectifier.records import Comparison, Diagnosis, Manifest, Process, Run, Series, Trial
from rectifier.report.text.terminal import open_console

if TYPE_CHECKING:
    from rectifier.comparison.models.observed import Ensemble
    from rectifier.datasets import Split

PLACEBO = "placebo"
ARMS = ("leaky_relu:0.01", "leaky_relu:0.1", "leaky_relu:0.3", "prelu:0.25", "elu:1.0")
METRIC = "test accuracy"
PAGE = "rectifier-demo.html"


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """What one demonstration found.

    Attributes:
        comparison: All arms and verdicts.
        deaths: What fell silent under the baseline.
        example: A baseline run that died (or the one with most dead units), and its diagnosis.
        curves: Test accuracy after each epoch, one series per seed, by arm.
    """

    comparison: Comparison
    deaths: Deaths
    example: tuple[Run, Diagnosis]
    curves: Mapping[str, Sequence[Series]]


@click.command()
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Other seed, other numbers.")
@click.option("--seeds", default=16, show_default=True, type=click.IntRange(1, 256), help="Trainings per arm.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help=f"Page to write [{PAGE}].")
@click.option("--no-html", is_flag=True, help="Write no page.")
def command(seed: int, seeds: int, page: Path | None, no_html: bool) -> None:
    """See a deep ReLU network die on real digits, be explained, treated and compared, in under a minute."""
    console = open_console()
    with _progress_bar() as progress:
        demo = run_demo(seed, seeds, console, progress=progress)
    if not no_html:
        written = write_page(demo, page or Path(PAGE))
        console.print(f"\nPage with plots: {written}", soft_wrap=True, highlight=False)
    console.print(
        "\nNow your own training script, unchanged:\n"
        "    rectifier run train.py            what is wrong with it\n"
        "    rectifier explain train.py        why: one change at a time\n"
        "    rectifier compare train.py        whether another activation would help it",
        highlight=False,
    )


def run_demo(
    seed: int,
    seeds: int,
    console: Console,
    *,
    epochs: int = 25,
    replace_all_by: str | None = None,
    progress: Progress | None = None,
) -> Demo:
    """Train all arms, print what happened and what may be said about it.

    Args:
        seed: Chooses the initial weights and data orders of all trainings.
        seeds: Trainings per arm.
        console: Where the text goes.
        epochs: Passes over the training set.
        replace_all_by: Train every arm with this activation instead of its own; with `relu` the very same code
            must find no help anywhere.
        progress: A started progress display, or None.

    Returns:
        Everything that was found, for the page.

    Raises:
        MissingData: scikit-learn, which brings the images, is not installed.
    """
    from rectifier.datasets import digits  # noqa: PLC0415
    from rectifier.diagnosis import diagnose  # noqa: PLC0415 (torch-free, but --help needs neither)
    from rectifier.report.text.comparison import print_comparison  # noqa: PLC0415

    started = time.perf_counter()
    # First of all: where they are missing, nothing else is to be said.
    data = digits()
    print_opening(console, seeds, epochs)
    ensembles = _train_all(data, seed, seeds, epochs, replace_all_by, progress)
    baseline = ensembles[BASELINE]
    trials = {arm: ensemble.trials(arm) for arm, ensemble in ensembles.items()}
    processes = [baseline.process(member) for member in range(seeds)]
    diagnoses = [diagnose(process) for process in processes]
    deaths = summarise_deaths(processes)
    print_deaths(console, trials[BASELINE], deaths, diagnoses, processes)
    comparison = _compare(trials, seed, epochs, time.perf_counter() - started)
    console.print()
    print_comparison(comparison, console)
    member = _example(trials[BASELINE])
    run = _as_run(processes[member], member, seed)
    curves = {arm: _accuracy_curves(ensemble) for arm, ensemble in ensembles.items()}
    return Demo(comparison, deaths, (run, diagnoses[member]), curves)


def _progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=open_console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _train_all(
    data: "Split", seed: int, seeds: int, epochs: int, replace_all_by: str | None, progress: Progress | None
) -> dict[str, "Ensemble"]:
    import torch  # noqa: PLC0415 (a second and a half that --help does not need)

    from rectifier.catalogue import parse  # noqa: PLC0415
    from rectifier.comparison.models.draws import Recipe, draws_for  # noqa: PLC0415
    from rectifier.comparison.models.observed import Network, train_observed  # noqa: PLC0415

    network = Network(data.train_inputs.shape[1], HIDDEN_LAYERS, WIDTH, data.classes)
    ensembles = {}
    threads = torch.get_num_threads()
    # Matrices of 64 × 8 gain nothing from a second thread, and on busy cores its barriers cost a factor of ten.
    torch.set_num_threads(1)
    try:
        for arm in (BASELINE, *ARMS, PLACEBO):
            # Every second step of the baseline is observed, because its deaths are told step by step.
            every = 2 if arm == BASELINE else 0
            advance = _task(progress, f"{arm}: {seeds} trainings", epochs)
            choice = parse(replace_all_by or (BASELINE if arm == PLACEBO else arm))
            draws = draws_for(seed, seeds, placebo=arm == PLACEBO)
            ensembles[arm] = train_observed(
                data, network, Recipe(epochs=epochs), choice, draws, observe_every=every, on_epoch=advance
            )
    finally:
        torch.set_num_threads(threads)
    return ensembles


def _task(progress: Progress | None, description: str, total: int) -> Callable[[int], None]:
    if progress is None:
        return lambda epoch: None
    task = progress.add_task(description, total=total)
    return lambda epoch: progress.update(task, completed=epoch)


def _compare(trials: Mapping[str, Sequence[Trial]], seed: int, epochs: int, seconds: float) -> Comparison:
    from rectifier.comparison.statistics.trials import compare_trials  # noqa: PLC0415 (scipy)

    return compare_trials(
        [trial for arm in trials.values() for trial in arm],
        baseline=BASELINE,
        placebo=PLACEBO,
        arms=ARMS,
        metric=METRIC,
        higher_is_better=True,
        title="Digits, a deep plain network: does another activation help?",
        seconds=seconds,
        settings={
            "network": f"64 inputs, {HIDDEN_LAYERS} hidden layers of {WIDTH} units, 10 outputs",
            "data": "scikit-learn's digits, 1,400 to train, 397 to test",
            "training": f"He-normal weights, zero biases, Adam 0.005, batches of 64, {epochs} epochs",
            "failure": "constant output on the test set, or a number that is not finite",
            "seed": str(seed),
        },
    )


def _example(trials: Sequence[Trial]) -> int:
    """The first training that failed, or the one with most dead units."""
    return max(range(len(trials)), key=lambda i: (trials[i].failed is not None, trials[i].dead_fraction or 0.0, -i))


def _as_run(process: Process, member: int, seed: int) -> Run:
    manifest = Manifest.of_now(f"demo: {BASELINE}, training {member + 1}")
    notes = {
        "observed": "every second step; a pass over all 1,400 training images after each epoch",
        "seed": str(seed),
    }
    return Run(manifest=manifest, processes=(process,), notes=notes)


def _accuracy_curves(ensemble: "Ensemble") -> list[Series]:
    import numpy as np  # noqa: PLC0415

    steps_per_epoch = len(ensemble.loss) // len(ensemble.accuracy)
    steps = np.arange(1, len(ensemble.accuracy) + 1, dtype=np.int64) * steps_per_epoch - 1
    return [Series(steps=steps, values=values) for values in ensemble.accuracy.T]


def write_page(demo: Demo, wanted: Path) -> Path:
    """Write the self-contained page beside what is there already, never over it.

    Args:
        demo: What to show.
        wanted: The name to take; `-2`, `-3`, … is added when it is taken.

    Returns:
        Where it was written: in a temporary directory when the wanted folder cannot be written.
    """
    from rectifier.report.page.page import comparison_page  # noqa: PLC0415 (plotly)

    text = comparison_page(demo.comparison, example=demo.example, curves=demo.curves)
    try:
        return _write_new(text, wanted)
    except OSError:
        return _write_new(text, Path(tempfile.mkdtemp(prefix="rectifier-")) / wanted.name)


def _write_new(text: str, wanted: Path) -> Path:
    number = 1
    while True:
        name = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        try:
            with name.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            number += 1
        else:
            return name
