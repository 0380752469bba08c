"""What a paired comparison measured and what may be said about it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from rectifier.records.notebook import InNotebook

Verdict = Literal["helped", "hurt", "no difference", "undecided", "identical"]


class FailureKind(StrEnum):
    """Why a training counts as a failure."""

    EXIT_CODE = "exit-code"
    KILLED = "killed"
    TIMED_OUT = "timed-out"
    UNREADABLE = "unreadable"
    RAISED = "raised"
    NOT_FINITE = "not-finite"
    DIVERGED = "diverged"
    CONSTANT_OUTPUT = "constant-output"
    NO_PROGRESS = "no-progress"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one training counts as a failure; `rectifier.report.sentences.failures` has the words for it.

    Attributes:
        kind: `exit-code`: of a script, not 0. `killed`: by SIGKILL, which the system sends when memory runs out, and
            anybody else may send. `timed-out`: after `--timeout`. `unreadable`: it left no readable record. `raised`:
            a function, or code of the user's. `not-finite`: the metric. `diverged`: losses or outputs that are not
            finite. `constant-output`: the same for every test input. `no-progress`: its loss ends within 5% of where
            it began, or above; its metric counts all the same. `other`: as an earlier version wrote it.
        detail: The exit code, the seconds of the timeout, the metric's name, or the text of an error; "" where the kind
            says it all.
    """

    kind: FailureKind
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training: an arm and a seed.

    Attributes:
        arm: As typed (`baseline`, `leaky_relu:0.1`, `placebo`).
        metric: The user's number; None when the trial failed before giving one.
        failed: Why this trial counts as a failure, None when it does not.
        dead_fraction: Share of the observed units that are dead or suspected at the end, None when unknown.
        fingerprint: Equal for two trainings whose losses and metric were equal to the bit; None where there are none.
        motionless: Whether nothing that the fingerprint is of ever moved; two such trainings, as of networks that are
            dead from the start, are no sign of a fixed seed.
        asked: Which number of the training `metric` is, as `Question.asked`; None where there is only one.
        changed: How often the arm's change changed something; None for arms that are no change of `rectifier explain`,
            and where the training told nothing.
    """

    arm: str
    seed: int
    metric: float | None
    failed: Failure | None = None
    dead_fraction: float | None = None
    seconds: float = 0.0
    run: str | None = None
    fingerprint: str | None = None
    motionless: bool = False
    asked: str | None = None
    changed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A paired difference, arm minus baseline, on one endpoint.

    Attributes:
        difference: Of failure rates, or the mean of the paired metric differences.
        low: Lower end of the 95% interval, None where there are too few pairs for one. Where there are several
            analyses, the intervals of all of them hold together with that confidence.
        high: Upper end.
        p: Exact two-sided p-value of this one comparison, over all its analyses so far.
        p_adjusted: Holm-corrected over all arms and both endpoints.
        n: Pairs that it rests on.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    p_adjusted: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmVerdict:
    """What one arm did against the baseline.

    Attributes:
        failure_low: Lower end of the exact (Clopper-Pearson) 95% interval of this arm's own failure rate.
        survivors: Metric difference over the seeds on which neither arm failed; never decides the verdict.
        verdict: `undecided` also when no test could have rejected with so few seeds. `identical` when every
            pair was equal to the bit.
        detectable: The true metric difference that this comparison had 80% power to detect, about.
        seeds_needed: Seeds for 80% power to detect a difference as large as the measured one, about;
            None where more than 10,000 would be needed, or where nothing can be said.
        sentence: The verdict in plain English, with its numbers.
        stopped_at: Seeds of the analysis before the last one that gave this arm its verdict; None for one that went on
            to the end.
    """

    arm: str
    n: int
    failures: int
    failure_low: float
    failure_high: float
    median: float | None
    failure: Effect | None
    metric: Effect | None
    survivors: Effect | None
    verdict: Verdict
    sentence: str
    dead_fraction: float | None = None
    detectable: float | None = None
    seeds_needed: int | None = None
    stopped_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(InNotebook):
    """A whole comparison: what was asked, every trial, and the verdicts.

    Attributes:
        baseline: Name of the arm that the others are compared with.
        placebo: Name of the arm that differs from the baseline in its random draws only; it is outside of the
            family of tests and shows the noise. None when there was none.
        higher_is_better: Direction of the metric.
        smallest_n: Pairs needed before the corrected exact test could reject at all; with several analyses, the seeds
            of the first one.
        interim: Numbers of seeds at which verdicts may be given; empty where whatever had ended was judged.
        notes: What the reader must know before believing it, e.g. that different seeds gave identical results.
    """

    title: str
    metric: str
    higher_is_better: bool
    baseline: str
    placebo: str | None
    seeds: tuple[int, ...]
    arms: tuple[ArmVerdict, ...]
    trials: tuple[Trial, ...]
    smallest_n: int
    alpha: float
    headline: str
    margin: float | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    settings: dict[str, str] = field(default_factory=dict)
    interim: tuple[int, ...] = ()
