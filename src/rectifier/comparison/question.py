"""What a comparison of a user's own script asks, and the trials that answer it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from rectifier.catalogue import parse
from rectifier.comparison.metric import Summary
from rectifier.errors import NothingToCompare
from rectifier.records import Change, Intervention, Trial

Compared = Literal["script", "function", "models"]
"""What is trained: a user's script, a Python function, or small models in a loop of ours."""

BASELINE = "baseline"
EARLIER_NAMES = {BASELINE: "as is", "surrogate_gradient": "leaky_grad"}
"""Arms under the names that earlier versions gave them, which the keys of trials keep."""

PLACEBO = "placebo"
DEFAULT_ARMS = ("leaky_relu:0.01", "leaky_relu:0.1", "leaky_relu:0.3", "prelu:0.25", "elu:1.0", "gelu")
DEFAULT_SEEDS = 12
"""Trainings per arm, of a script or a function."""

MODEL_ARMS = ("leaky_relu:0.01", "leaky_relu:0.1", "leaky_relu:0.3", "elu:1.0", "gelu")
MODEL_SEEDS = 16
"""Likewise of small models, which are trained many at once."""
MODEL_EPOCHS, MODEL_BATCH_SIZE = 25, 64


HALF_RATE = "half-lr"
RESCALE = "rescale"
RESTART = "restart"
COMPETITORS = {
    HALF_RATE: "half-lr is the script as it is, each step taken at half the learning rate that it asks for.",
    RESCALE: "rescale is the script as it is, its initial weights scaled to the gains of its activations before the "
    "first step.",
    RESTART: "restart is the script as it is, and where that failed the placebo's training of the same seed: what one "
    "gets who starts a failed training again, for the price of two. It can only lose where that one failed, too.",
}
"""Arms that leave the activation alone: what one would try anyway."""

NO_ARMS = frozenset({Change.NONE, Change.PLACEBO, Change.RESTART})
"""Changes of `explain` that are its controls; a comparison has its own."""

TREATED = "relu"
"""The activation that the arms replace."""

_PLACEBO_SEEDS = 1_000_000
"""Added to a seed for the placebo: other draws than any arm's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One training to run: everything that could change its outcome, so that equal specs need not run twice.

    Attributes:
        command: As typed, placeholders included.
        script: SHA-256 of the script's text, None for a module: an edited script is another trial.
        swap: Replacements, as `--swap` takes them.
        seed: The seed it is paired by.
        drawn: The seed that it is given; another one for the placebo.
        learning_rate: Factor of the script's own.
        rescale: Whether initial weights are rescaled before the first step.
        max_steps: Optimizer steps after which it is ended, None for the script's own end.
        threads: Threads that it may use; sums round differently on other numbers of threads.
        intervention: A change of `explain` in the form that `Intervention.parse` reads; None for none.
    """

    command: tuple[str, ...]
    script: str | None
    arm: str
    swap: tuple[str, ...]
    seed: int
    drawn: int
    threads: int
    learning_rate: float = 1.0
    rescale: bool = False
    max_steps: int | None = None
    intervention: str | None = None

    @property
    def key(self) -> str:
        """SHA-256 of the canonical form; the same on every machine."""
        facts = asdict(self)
        # The keys of the first comparisons shall stay.
        facts["arm"] = renamed(self.arm, EARLIER_NAMES)
        facts["swap"] = [
            f"{old}={renamed(new, EARLIER_NAMES)}" for old, _, new in (each.partition("=") for each in self.swap)
        ]
        for name, usual in (("learning_rate", 1.0), ("rescale", False), ("max_steps", None), ("intervention", None)):
            if facts[name] == usual:
                del facts[name]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def takes_seed(self) -> bool:
        """Whether the script is told its seed in its arguments, rather than being seeded from outside."""
        return any("{seed}" in argument for argument in self.command)

    def arguments(self, trial_dir: Path) -> tuple[str, ...]:
        """The command with `{seed}` and `{trial_dir}` replaced; other braces are the script's own."""
        return tuple(
            argument.replace("{seed}", str(self.drawn)).replace("{trial_dir}", str(trial_dir))
            for argument in self.command
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A comparison as asked.

    Attributes:
        command: The script and its arguments (or `-m`, a module, and its arguments), placeholders included.
        script: SHA-256 of the script's text, None for a module.
        arms: The treated arms, in the catalogue's spelling.
        seeds: Number of seeds, from 0.
        metric: `loss` for what is back-propagated, or the name given to `rectifier.log` or to what `pattern` finds.
        summary: How a training's series becomes one number.
        margin: Smallest difference that matters, None when the reader has not said.
        threads: Threads per trial.
        pattern: A regular expression with one group, which is the metric wherever it matches the script's output.
        compared: What is trained.
        max_steps: Optimizer steps after which each training is ended, None for the script's own end.
        interim: Numbers of seeds at which verdicts may be given, the last one all; () for one analysis at the end.
    """

    command: tuple[str, ...]
    script: str | None
    arms: tuple[str, ...]
    seeds: int
    metric: str
    summary: Summary
    higher_is_better: bool
    margin: float | None
    threads: int
    pattern: str | None = None
    compared: Compared = "script"
    max_steps: int | None = None
    interim: tuple[int, ...] = ()

    def plan(self) -> Iterator[TrialSpec]:
        """All trials, seed by seed, so that what is finished early is paired."""
        for seed in range(self.seeds):
            for arm in (BASELINE, *self.trained_arms, PLACEBO):
                yield TrialSpec(
                    command=self.command,
                    script=self.script,
                    arm=arm,
                    swap=(f"{TREATED}={arm}",) if arm in self.arms and swaps(arm) else (),
                    seed=seed,
                    drawn=seed + _PLACEBO_SEEDS if arm == PLACEBO else seed,
                    threads=self.threads,
                    learning_rate=0.5 if arm == HALF_RATE else 1.0,
                    rescale=arm == RESCALE,
                    max_steps=self.max_steps,
                    intervention=arm if is_change(arm) else None,
                )

    @property
    def planned_analyses(self) -> tuple[int, ...]:
        """Numbers of seeds at which verdicts may be given."""
        return self.interim or (self.seeds,)

    @property
    def trained_arms(self) -> tuple[str, ...]:
        """The arms that need trainings of their own; a restart has those of the baseline and the placebo."""
        return tuple(arm for arm in self.arms if arm != RESTART)

    def with_restarts(self, trials: Sequence[Trial]) -> list[Trial]:
        """Add the trials of `restart`, where both trainings that one is made of have ended."""
        if RESTART not in self.arms:
            return list(trials)
        ended = {(trial.arm, trial.seed): trial for trial in trials}
        restarts = []
        for seed in range(self.seeds):
            first, second = ended.get((BASELINE, seed)), ended.get((PLACEBO, seed))
            if first is None or second is None:
                continue
            kept = first if first.failed is None else replace(second, seconds=first.seconds + second.seconds)
            restarts.append(replace(kept, arm=RESTART))
        return [*trials, *restarts]

    @property
    def asked(self) -> str:
        """Which number of a training counts; trials that were read for another one are read again."""
        end = self.higher_is_better if self.summary == "best" else None
        return json.dumps([self.metric, self.summary, end, self.pattern])

    @property
    def title(self) -> str:
        """What was compared, for the head of a report."""
        asked = "does another activation help?" if all(map(swaps, self.arms)) else "what helps?"
        return f"{' '.join(self.command)}: {asked}"


def is_change(arm: str) -> bool:
    """Whether an arm is a change of `explain`: `weight_decay_off`, `loss_term_off:1`.

    Example:
        >>> is_change("loss_term_off:1"), is_change("leaky_relu:0.1"), is_change("restart")
        (True, False, False)
    """
    name = arm.partition(":")[0]
    return name in set(Change) - NO_ARMS


def swaps(arm: str) -> bool:
    """Whether an arm puts another activation in the place of `TREATED`."""
    return arm not in COMPETITORS and not is_change(arm)


def renamed(arm: str, names: Mapping[str, str]) -> str:
    """An arm under another name; its parameter stays.

    Example:
        >>> renamed("surrogate_gradient:0.1", EARLIER_NAMES), renamed("elu:1.0", EARLIER_NAMES)
        ('leaky_grad:0.1', 'elu:1.0')
    """
    name, colon, parameter = arm.partition(":")
    return f"{names.get(name, name)}{colon}{parameter}"


def script_digest(command: Sequence[str]) -> str | None:
    """SHA-256 of the script that a command starts; None for `-m`, whose text is not looked for.

    Raises:
        NothingToCompare: There is no command, or its script cannot be read.
    """
    if not command:
        raise NothingToCompare("no script was given. Write: rectifier compare train.py [its options]")
    if command[0] == "-m":
        return None
    script = Path(command[0])
    try:
        return hashlib.sha256(script.read_bytes()).hexdigest()
    except OSError as error:
        raise NothingToCompare(
            f"{command[0]} cannot be read ({error.strerror}) from {Path.cwd()}. "
            "Options of rectifier compare come before the script, those of the script after it."
        ) from error


def arms_from(text: str) -> tuple[str, ...]:
    """Read `leaky_relu:0.1, elu:1.0, half-lr, weight_decay_off` into one spelling, each arm once.

    Raises:
        UnknownActivation: A name or parameter is not in the catalogue.
        NothingToCompare: No arm is left beside the script as it is, or a change lacks its place.

    Example:
        >>> arms_from("leaky_relu:0.10,elu:1,relu,elu:1.0,weight_decay_off")
        ('leaky_relu:0.1', 'elu:1.0', 'weight_decay_off')
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    specs = dict.fromkeys(_spelled(part) for part in parts)
    specs.pop(TREATED, None)
    if not specs:
        raise NothingToCompare(
            f"--arms {text!r} names nothing but the script as it is. Write for example: --arms leaky_relu:0.1,elu:1.0"
        )
    return tuple(specs)


def _spelled(arm: str) -> str:
    if arm in COMPETITORS:
        return arm
    if not is_change(arm):
        return parse(arm).spec
    change = Intervention.parse(arm)
    if change.change is Change.GUARD_OPERATION and not change.value:
        raise NothingToCompare(f"{arm} needs the place that is to be guarded: guard_operation:train.py:41")
    return str(change)
