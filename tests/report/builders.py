"""Runs and comparisons as they come in life, made of records alone."""

from dataclasses import replace

import numpy as np

from rectifier.records import (
    Applied,
    ArmVerdict,
    AxisSource,
    CauseKind,
    Change,
    Comparison,
    Conclusion,
    Control,
    Cost,
    Diagnosis,
    Effect,
    EstablishedCause,
    Experiment,
    ExplainedFailure,
    Explanation,
    Failure,
    FailureKind,
    Intervention,
    LayerSummary,
    Manifest,
    Outcome,
    Process,
    RemedyId,
    Run,
    SavedExplanation,
    Series,
    Sight,
    SightKind,
    Site,
    SiteWindow,
    Snapshot,
    Treated,
    Trial,
    UnitAxis,
    Unseen,
    Writer,
)
from rectifier.report.sentences import told_explanation
from tests.edge import diagnose

HOSTILE = "<script>alert(1)</script>"
CLOSING = "</script><img src=x onerror=alert(2)>"
LAST_AXIS = UnitAxis(axis=-1, ndim=2, source=AxisSource.LAYER, operation="Linear")
_BATCH = 49


def make_process(widths=(13, 11, 7), names=None, *, dying=(), windows=9, every=20, model="Net", rank=0, loss=True):
    """A network whose layers numbered in `dying` fall silent from the third window on, unit by unit."""
    names = [f"hidden.{index}" for index in range(len(widths))] if names is None else names
    random = np.random.default_rng(5)
    sites = tuple(
        Site(model=model, path=name, call=0, activation="relu", kind="module", source=f"net.py:{20 + row}", units=width,
             unit_axis=LAST_AXIS)
        for row, (name, width) in enumerate(zip(names, widths, strict=True))
    )  # fmt: skip
    base = [random.uniform(0.15, 0.75, width) for width in widths]
    last = [np.full(width, -1, np.int64) for width in widths]
    silent = [np.zeros(width, np.int64) for width in widths]
    snapshots = []
    for number in range(windows):
        steps = np.arange(number * every, (number + 1) * every, 2)
        visits = _BATCH * len(steps)
        rows = []
        for row, width in enumerate(widths):
            dead = np.arange(width) < (width * (number - 1) / 4 if row in dying else 0)
            fired = np.where(dead, 0, np.maximum(1, (base[row] * visits).astype(np.int64)))
            last[row] = np.where(fired > 0, steps[-1], last[row])
            silent[row] = np.where(fired > 0, 0, silent[row] + visits)
            blocked = any(other >= row and number >= 6 for other in dying)
            delta = np.full(len(steps), 0.0 if blocked else 1e-3 * 1.7 ** (row - 0.2 * number))
            rows.append(
                SiteWindow(
                    site=row, steps=steps, visits=visits, seen=visits, fired=fired,
                    mean=fired / visits, mean_abs=fired / visits,
                    highest=np.where(fired > 0, 2.5, 0.0), lowest=np.zeros(width), last_fired=last[row],
                    silent_visits=silent[row], silent_distinct=np.minimum(silent[row], 4000), delta=delta,
                    update=np.full(len(steps), 1e-3),
                )
            )  # fmt: skip
        at = np.arange(number * every, (number + 1) * every)
        floor = 2.3 if dying else 2.3 * np.exp(-at / 60)
        series = (
            {"loss": Series(steps=at, values=floor + 0.02 * random.standard_normal(len(at)) + 0.05)} if loss else {}
        )
        cost = Cost(
            watching_seconds=0.02 * (number + 1), training_seconds=2.5 * (number + 1),
            observed_steps=len(steps) * (number + 1),
            counted_steps=len(steps) * (number + 1), steps=every * (number + 1), interval=2, count_interval=2,
        )  # fmt: skip
        snapshots.append(
            Snapshot(
                step=int(at[-1]), seconds=float(number), windows=tuple(rows), series=series, cost=cost,
                distinct_samples=4000,
            )
        )  # fmt: skip
    writer = Writer(pid=4242 + rank, rank=rank, world_size=1, torch="2.13.0", device="cpu")
    return Process(writer=writer, sites=sites, snapshots=tuple(snapshots))


def make_run(*processes, exit_code=0, command=("train.py", "--lr", "0.1")):
    manifest = Manifest(
        name="train-20261124-101500", command=command, folder="rectifier-runs/train-20261124-101500",
        started="2026-11-24T10:15:00+01:00", rectifier="0.1.0", python="3.11.7",
    )  # fmt: skip
    return Run(manifest=manifest, processes=processes, outcome=Outcome(exit_code=exit_code, seconds=23.4))


def diagnosed(run):
    return run, [diagnose(process) for process in run.processes]


def make_hostile():
    """A run whose every name would do harm where it was taken for more than a name."""
    process = make_process(names=(HOSTILE, CLOSING, '" onclick="alert(3)'), dying=(1,))
    sites = tuple(replace(site, source=f"{HOSTILE}.py:3") for site in process.sites)
    named = Series(steps=np.arange(3), values=np.array([1.0, np.nan, 2.0]))
    first = replace(process.snapshots[0], series={**process.snapshots[0].series, CLOSING: named})
    process = replace(
        process, sites=sites, snapshots=(first, *process.snapshots[1:]), changes=(HOSTILE,), warnings=(CLOSING,),
        unseen=(Unseen(what=HOSTILE, reason=CLOSING),),
        treated=(Treated(step=3, name=CLOSING, text=HOSTILE, units={HOSTILE: (0, 1)}),),
    )  # fmt: skip
    return diagnosed(make_run(process, command=(HOSTILE, CLOSING)))


def make_huge(layers=12, units=1_000_003, windows=9, steps=100_003):
    """Over a million units in each of several layers, and a loss of 100,000 steps; the counters are shared."""
    random = np.random.default_rng(6)
    fired = random.integers(0, 700, units)
    zeros, ones = np.zeros(units), np.ones(units)
    ends = np.linspace(0, steps, windows + 1).astype(np.int64)
    sites = tuple(
        Site(model="Net", path=f"block.{row}.act", call=0, activation="relu", kind="module", source="net.py:9",
             units=units, unit_axis=LAST_AXIS)
        for row in range(layers)
    )  # fmt: skip
    snapshots = []
    for number in range(windows):
        at = np.arange(ends[number], ends[number + 1], dtype=np.int64)
        some = at[:: max(1, len(at) // 11)]
        rows = tuple(
            SiteWindow(
                site=row, steps=some, visits=701, seen=701, fired=fired,
                mean=ones, mean_abs=ones, highest=ones, lowest=zeros,
                last_fired=fired, silent_visits=fired, silent_distinct=None, delta=np.full(len(some), 0.1 + row),
                update=np.full(len(some), 1e-3),
            )
            for row in range(layers)
        )  # fmt: skip
        cost = Cost(
            watching_seconds=1.0,
            training_seconds=700.0,
            observed_steps=len(some),
            counted_steps=len(some),
            steps=int(at[-1]) + 1,
            interval=999,
            count_interval=999,
        )
        loss = Series(steps=at, values=2 / (1 + at / 997) + 0.1 * random.random(len(at)))
        snapshots.append(
            Snapshot(step=int(at[-1]), seconds=float(number), windows=rows, series={"loss": loss}, cost=cost)
        )
    writer = Writer(pid=4242, rank=0, world_size=1, torch="2.13.0", device="cpu")
    process = Process(writer=writer, sites=sites, snapshots=tuple(snapshots))
    silent = int((fired == 0).sum())
    summaries = tuple(
        LayerSummary(
            site=site.ref, activation="relu", source=site.source, units=units, dead=silent, suspected=0, rare=3,
            stuck=silent, firing_fraction=0.5, delta=0.1,
            dead_history=tuple((snapshot.step, silent / units) for snapshot in snapshots),
        )
        for site in sites
    )  # fmt: skip
    return make_run(process), [Diagnosis(findings=(), layers=summaries)]


def make_comparison(arms=("relu", "leaky_relu:0.1", "elu", "tanh", "placebo"), metric="test accuracy", *, margin=None):
    random = np.random.default_rng(3)
    seeds = tuple(range(12))
    centre = dict(zip(arms, (0.62, 0.81, 0.64, 0.48, 0.61), strict=True))
    trials, verdicts = [], []
    for arm in arms:
        for seed in seeds:
            failed = Failure(FailureKind.OTHER, "at chance") if arm in (arms[0], arms[-1]) and seed % 5 == 0 else None
            value = 0.1 if failed else float(np.clip(centre[arm] + 0.06 * random.standard_normal(), 0, 1))
            dead = float(random.uniform(0.1, 0.5)) if arm in (arms[0], arms[-1]) else 0.0
            trials.append(Trial(arm=arm, seed=seed, metric=value, failed=failed, dead_fraction=dead, seconds=1.5))
        failures = sum(trial.failed is not None for trial in trials if trial.arm == arm)
        gap = centre[arm] - centre[arms[0]]
        effect = Effect(difference=gap, low=gap - 0.08, high=gap + 0.09, p=0.01, p_adjusted=0.06, n=12)
        rate = Effect(difference=(failures - 3) / 12, low=-0.5, high=0.1, p=0.2, p_adjusted=0.7, n=12)
        verdict = {arms[1]: "helped", arms[2]: "no difference", arms[3]: "hurt"}.get(arm, "undecided")
        base = arm == arms[0]
        verdicts.append(
            ArmVerdict(
                arm=arm, n=12, failures=failures, failure_low=failures / 40, failure_high=failures / 12 + 0.26,
                median=centre[arm], failure=None if base else rate, metric=None if base else effect,
                survivors=None if base else effect, verdict=verdict, dead_fraction=0.3 if failures else 0.0,
                sentence=f"{arm} {verdict}: failures {failures} of 12 instead of 3 of 12; {metric} {gap:+.2f}.",
            )
        )  # fmt: skip
    return Comparison(
        title="Does another activation help?", metric=metric, higher_is_better=True, baseline=arms[0],
        placebo=arms[-1], seeds=seeds, arms=tuple(verdicts), trials=tuple(trials), smallest_n=9, alpha=0.05,
        headline=f"Against {arms[0]}: {arms[1]} helped, {arms[3]} hurt.", margin=margin,
        notes=("Three seeds gave identical results in all arms.",), seconds=412.0, settings={"epochs": "25"},
    )  # fmt: skip


def make_curves(comparison):
    random = np.random.default_rng(4)
    steps = np.arange(0, 500, 20)
    return {
        arm.arm: [
            Series(
                steps=steps, values=arm.median * (1 - np.exp(-steps / 90)) + 0.03 * random.standard_normal(len(steps))
            )
            for _ in comparison.seeds
        ]
        for arm in comparison.arms
    }


def make_hostile_comparison():
    return make_comparison(("relu", HOSTILE, CLOSING, '" onclick="alert(3)', "placebo"), metric=HOSTILE)


def make_explanation(place="train.py:41", expression="loss.log()", detail="weight decay of 0.5 (AdamW, group 0)"):
    """Weight decay is the cause on three seeds; five other changes do not help, and one finds nothing to change."""
    random = np.random.default_rng(6)

    def trial(change, seed=None, value=None, *, cured=False, times=1, finite=60):
        level = 0.09 if cured else 2.3
        losses = (level + (2.3 - level) * np.exp(-np.arange(60) / 9) + 0.01 * random.standard_normal(60)).tolist()
        return Experiment(
            intervention=Intervention(change, value), seed=seed, failed=not cured, better=cured or None, steps=600,
            loss_end=level if finite == 60 else None, seconds=1.5, losses=(*losses[:finite], *[None] * (60 - finite)),
            applied=None if change is Change.NONE else Applied(change=change, times=times, detail=detail),
        )  # fmt: skip

    decay = Intervention(Change.WEIGHT_DECAY_OFF)
    cause = EstablishedCause(
        kind=CauseKind.WEIGHT_DECAY, detail=detail, place=place, intervention=decay, established=True
    )
    sights = (
        Sight(
            kind=SightKind.INPUTS, operation="Net", phase="forward", place=place, expression=expression,
            numbers={"offset": 0.1, "rows": 64.0},
        ),
        Sight(
            kind=SightKind.MOVED_BY, operation="weight_decay", phase="optimizer", step=3, place=place,
            expression=expression, numbers={"share": 0.98}, cause_kind=CauseKind.WEIGHT_DECAY,
        ),
    )  # fmt: skip
    return Explanation(
        conclusion=Conclusion.ESTABLISHED,
        cause=cause,
        causes=(cause,),
        established=True,
        remedies=(RemedyId.LOWER_WEIGHT_DECAY, RemedyId.MORE_UNITS),
        experiments=(
            trial(Change.LEARNING_RATE_THIRD),
            trial(Change.LOSS_TERM_OFF, value=1),
            trial(Change.GUARD_OPERATION, value=place, finite=20),
            trial(Change.WEIGHTS_HE, finite=1),
            trial(Change.NORMALISATION_OFF, times=0),
            trial(Change.WEIGHT_DECAY_OFF, cured=True),
            trial(Change.PLACEBO),
            *(trial(Change.WEIGHT_DECAY_OFF, seed, cured=True) for seed in (1, 2)),
        ),
        control=Control(
            seeds=(None, 1, 2), failing=(None, 1, 2), placebo_failed=True, deterministic=True, seeds_reach=True,
            trials=tuple(trial(Change.NONE, seed) for seed in (None, 1, 2)),
        ),
        sights=sights,
        failure=ExplainedFailure(rule="standing-still", onset=180, steps=600, loss_end=2.3),
    )  # fmt: skip


def make_saved(explanation=None, command=("train.py", "--lr", "0.1"), script="0" * 64, **more):
    """An explanation as it is kept, with its texts."""
    usual = {"folder": "/runs/explain-train-1", "written": "2026-11-24T10:15:00+01:00", "rectifier": "0.1.0"}
    told = told_explanation(explanation or make_explanation())
    return SavedExplanation(command=command, script=script, explanation=told, **{**usual, **more})
