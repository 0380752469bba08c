"""Who finds the failures, who accuses the controls, how soon, and with the right cause: one table.

    python benchmarks/detection --seeds 10

A failure is there, for one seed, when its remedy, with the same seed, gains at least 0.05 in accuracy or R² on the
training data, or does not collapse where this one did (standard deviation of the output < 1e-3), or when the training
is no longer finite. A seed that survives is neither a hit nor a control. A named cause is right when removing that
cause alone, with the same seed, prevents the failure in that sense; of trainings with code of their own, when it is of
the kind that their remedy removes.
"""

import argparse
import json
import math
import re
import statistics
import time
from collections import defaultdict
from pathlib import Path

import torch
from controls import CONTROLS
from failures import FAILURES, REBUILT
from generated import command
from plain import without
from rules import RULES

import rectifier
from rectifier.records import BornDead, CauseKind, Drift, Finding, Rule, SilentLayer

OURS = "Rectifier"
LOOKS = frozenset({1, 2, 5, 10, 20, 50, 100, 150, 200, 250, 300, 350, 400})


def watch_one(training, steps):
    """First alarm of each rule by step, our diagnosis (the last one with an alarm, if any), and how it ended."""
    alarms, accuracies, alarmed = {}, [], None
    with rectifier.watch(every=4) as watch:
        for step in range(1, steps + 1):
            training.looking = step in LOOKS or step == steps
            training.outputs.clear()
            loss, accuracy = training.step()
            accuracies.append(accuracy)
            if not training.looking:
                continue
            known = [value for value in accuracies[-20:] if value is not None]
            recent = statistics.fmean(known) if known else None
            for name, rule in RULES.items():
                if name not in alarms and rule(training, recent):
                    alarms[name] = step
            found = watch.diagnose()
            if found.reaches("warning"):
                alarms.setdefault(OURS, step)
                alarmed = found
            if not math.isfinite(loss):
                break
    return alarms, alarmed or found, training.score()


def blamed(found):
    """The cause that our most serious finding names; of a network that a silent layer cuts, that layer's."""
    top = found.findings[0]
    if not isinstance(top.evidence, SilentLayer):
        return top.cause
    of_layer = (one for one in found.findings if one.rule is Rule.DEAD_UNITS and one.site == top.evidence.silent_site)
    return next(of_layer, Finding(rule=Rule.DEAD_UNITS, severity="info")).cause


def told(cause):
    """Its kind, or what says more than that."""
    return {BornDead: "born dead", Drift: "drift"}.get(type(cause.facts), str(cause.kind))


def score_of(setting, seed):
    training = setting.start(seed)
    for _ in range(setting.steps):
        training.step()
    return training.score()


def is_same(one, other):
    """Whether two settings train alike."""
    return all(
        torch.equal(getattr(one, name), value) if isinstance(value, torch.Tensor) else getattr(one, name) == value
        for name, value in vars(other).items()
    )


def run_failure(failure, seed):
    alarms, found, score = watch_one(failure.setting.start(seed), failure.setting.steps)
    remedied = score_of(failure.remedy, seed)
    failed = failure.is_worse(score, remedied)
    cause = right = None
    if failed and OURS in alarms and found.reaches("warning"):
        blames = blamed(found)
        cause, changed = told(blames), without(blames, failure.setting)
        if changed is not None:
            right = True if is_same(changed, failure.remedy) else failure.is_worse(score, score_of(changed, seed))
    return {"case": failure.name, "seed": seed, "failed": failed, "score": score, "remedied": remedied,
            "alarms": alarms, "cause": cause, "right": right,
            "top": found.findings[0].rule if found.findings else None}  # fmt: skip


def run_rebuilt(case, seed):
    alarms, found, score = watch_one(case.start(seed, mended=False), case.steps)
    training = case.start(seed, mended=True)
    for _ in range(case.steps):
        training.step()
    remedied = training.score()
    failed = case.failed(score[0], remedied[0])
    cause = right = None
    if failed and OURS in alarms:
        kind = blamed(found).kind
        cause, right = str(kind), None if kind is CauseKind.UNKNOWN else kind in case.causes
    return {"case": case.name, "seed": seed, "failed": failed, "score": score, "remedied": remedied,
            "alarms": alarms, "cause": cause, "right": right,
            "top": found.findings[0].rule if found.findings else None}  # fmt: skip


def run_control(control, seed):
    alarms, found, score = watch_one(control.start(seed), control.steps)
    return {"case": control.name, "seed": seed, "score": score, "control": score[0] >= control.floor, "alarms": alarms,
            "top": [one.title for one in found.findings if one.severity != "info"]}  # fmt: skip


def show(rows, title, count):
    names = [OURS, *RULES]
    print(f"\n{title}\n")
    print("| case | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 1))
    by_case = defaultdict(list)
    for row in rows:
        by_case[row["case"]].append(row)
    for case, own in by_case.items():
        print(f"| {case} | " + " | ".join(count(own, name) for name in names) + " |")
    print("| **all** | " + " | ".join(f"**{count(rows, name)}**" for name in names) + " |")


def hits(rows, name):
    failed = [row for row in rows if row["failed"]]
    steps = [row["alarms"][name] for row in failed if name in row["alarms"]]
    when = f" (step {statistics.median_low(steps)}, last {max(steps)})" if steps else ""
    return f"{len(steps)} of {len(failed)}{when}"


def on_survivors(rows, name):
    alive = [row for row in rows if not row["failed"]]
    return f"{sum(name in row['alarms'] for row in alive)} of {len(alive)}"


def false_alarms(rows, name):
    controls = [row for row in rows if row["control"]]
    return f"{sum(name in row['alarms'] for row in controls)} of {len(controls)}"


def show_causes(rows):
    print("\nCauses that Rectifier names, of the failures that it found\n")
    print("| case | named | right | wrong | none named |\n|---|---|---|---|---|")
    by_case = defaultdict(list)
    for row in rows:
        if row["cause"] is not None:
            by_case[row["case"]].append(row)
    everything = [row for own in by_case.values() for row in own]
    for case, own in [*by_case.items(), ("**all**", everything)]:
        named = ", ".join(sorted({row["cause"] for row in own}))
        tally = [sum(row["right"] is answer for row in own) for answer in (True, False, None)]
        print(f"| {case} | {named} | {tally[0]} | {tally[1]} | {tally[2]} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    parser.add_argument(
        "--share", default="1/1", help="Of several processes that append to one file: 1/2 takes every other seed."
    )
    parser.add_argument("--only", default="", help="Cases whose name has this pattern.")
    parser.add_argument(
        "--out", type=Path, help="Keep every run here, a line of JSON each; those of earlier calls are reported, too."
    )
    parser.add_argument("--generated", type=int, help="Random trainings with and without faults instead, so many.")
    parser.add_argument("--seed", type=int, default=0, help="Of what is drawn for `--generated`.")
    parser.add_argument("--case", help="One of the generated cases by its name, with all that is found.")
    parser.add_argument("--spread", type=int, help="How much healthy generated trainings differ over so many seeds.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.case:
        command.show(options.case)
    elif options.spread:
        command.spread(options.spread)
    elif options.generated:
        command.run(options.generated, options.seed, options.share, options.out, options.only)
    else:
        run_named(options)


def run_named(options):
    """Train the named failures and controls that the options choose, and report all that are kept."""
    began, failures, controls = time.monotonic(), [], []
    jobs = [(run_failure, case, failures) for case in FAILURES]
    jobs += [(run_rebuilt, case, failures) for case in REBUILT] + [(run_control, case, controls) for case in CONTROLS]
    jobs = [job for job in jobs if re.search(options.only, job[1].name)]
    done = set()
    if options.out and options.out.exists():
        done = {(row["case"], row["seed"]) for row in map(json.loads, options.out.read_text().splitlines())}
    # Seed by seed, so that what was cut short has every case.
    number, of = map(int, options.share.split("/"))
    for seed in range(options.first + number - 1, options.first + options.seeds, of):
        for run, case, rows in jobs:
            if (case.name, seed) in done:
                continue
            start = time.monotonic()
            row = {**run(case, seed), "seconds": time.monotonic() - start}
            rows.append(row)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    if options.out:
        kept = [json.loads(line) for line in options.out.read_text().splitlines()]
        failures, controls = ([row for row in kept if ("control" in row) == of_control] for of_control in (False, True))
    report(failures, controls)
    seeds = len({row["seed"] for row in failures + controls})
    print(f"\n{seeds} seeds a case, {time.monotonic() - began:.0f} s, torch {torch.__version__}.")


def report(failures, controls):
    """Print the tables."""
    if failures:
        show(failures, "Failures found (median and latest step of the first alarm)", hits)
        show(failures, "Alarms on seeds that survived the same setting", on_survivors)
        show_causes(failures)
    if controls:
        show(controls, "Controls accused", false_alarms)
        left = sum(not row["control"] for row in controls)
        print(f"\n{left} of {len(controls)} control runs missed their floor and are left out.")


if __name__ == "__main__":
    main()
