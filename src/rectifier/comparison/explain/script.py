"""`explain` of a script from its first trial to its verdict, whoever asks: the command line or Python."""

import time
from collections.abc import Callable
from pathlib import Path

from rectifier.comparison.explain.engine import Engine
from rectifier.comparison.explain.progress import Step
from rectifier.comparison.explain.trials.script import ScriptTrials
from rectifier.records import Explanation, Rule


def explain_script(
    command: tuple[str, ...],
    folder: Path,
    *,
    jobs: int = 1,
    max_minutes: float | None = None,
    own_seed: int = 0,
    finding: Rule | None = None,
    because: str | None = None,
    timeout: float | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Explanation:
    """Find out by experiment why a script's training fails.

    Args:
        command: The script and its arguments (or `-m`, a module, and its arguments), `{seed}` and `{trial_dir}` where
            they belong.
        folder: Of the explanation; one that was begun is continued.
        jobs: Trials at a time.
        max_minutes: Minutes after which no further trial begins.
        own_seed: What `{seed}` stands for in the run that fails.
        finding: What is to be explained; None for the most serious finding.
        because: The failure in the user's words, where no finding tells it: `loss stays at 2.3`.
        timeout: Seconds after which a trial is ended.
        on_step: Told of each trial that has ended.

    Raises:
        CannotExplain: The script cannot be run, or `because` cannot be read.
        KeyboardInterrupt: On Ctrl-C, after the running trials were ended; what has ended is kept.
    """
    began = time.monotonic()
    trials = ScriptTrials(command=command, folder=folder, own_seed=own_seed, timeout=timeout)
    engine = Engine(
        run=trials,
        jobs=jobs,
        may_begin=lambda: max_minutes is None or time.monotonic() - began < 60 * max_minutes,
        tell=on_step,
        stop=trials.stop,
        finding=finding,
        because=because,
    )
    try:
        return engine.explain()
    finally:
        trials.close()
