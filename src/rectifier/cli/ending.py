"""What `rectifier run` and `rectifier report` say of a run: the diagnosis, where it lies, what to type next."""

import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from rectifier._formatting import counted
from rectifier.comparison.question import script_digest
from rectifier.diagnosis import diagnose
from rectifier.errors import NothingToCompare, UnreadableRun
from rectifier.exit_codes import SIGNALLED
from rectifier.records import Diagnosis, Manifest, Outcome, Run, RunNote, SiteRef
from rectifier.report.sentences.fixes import with_seeds
from rectifier.report.sentences.recorded import recorded, unseen_calls, why_unseen
from rectifier.report.text.run import print_run
from rectifier.report.text.terminal import open_console
from rectifier.storage import read_run, write_manifest, write_outcome


def note_beginning(
    folder: Path, command: Sequence[str], swap: Sequence[str], *, rescale: bool = False, recycle: int | None = None
) -> None:
    """Write what has been started; a disk that refuses will be told of at the end."""
    script = None
    with contextlib.suppress(NothingToCompare):
        script = script_digest(command)
    manifest = Manifest.of_now(
        name=folder.name,
        # What is not UTF-8 in it cannot be written as text.
        command=tuple(os.fsencode(part).decode(errors="replace") for part in command),
        folder=str(folder),
        swap=tuple(swap),
        rescale=rescale,
        recycle=recycle,
        script=script,
    )
    with contextlib.suppress(OSError):
        write_manifest(folder, manifest)


def tell_ending(folder: Path, base: Path, code: int, seconds: float, suppress: Mapping[str, str]) -> list[Diagnosis]:
    """Write how a run ended, and print what is to be said of it; never raises for what is wrong with the folder.

    Args:
        folder: The run's.
        base: Where it was to lie.
        code: The script's exit code.
        seconds: How long it ran.
        suppress: Known findings, as for `diagnose`.

    Returns:
        The diagnosis of each of its processes; none where the run cannot be read back.
    """
    # Whoever reads a folder that cannot be written any more sees a run without an end; what was recorded is there.
    with contextlib.suppress(OSError):
        write_outcome(folder, Outcome(exit_code=code, seconds=seconds))
    console = open_console(stderr=True)
    console.print()
    console.rule("rectifier")
    try:
        run = read_run(folder)
    except UnreadableRun as error:
        _plain(console, f"The run cannot be read back: {error}")
        return []
    diagnoses = print_observed(run, suppress, console)
    elsewhere = f" ({base} cannot be written)" if folder.parent != base.absolute() else ""
    _plain(console, f"Run: {_shorten(folder)}{elsewhere}")
    for line in next_commands(run, diagnoses, _shorten(folder), suppress):
        _plain(console, f"Next: {line}")
    return diagnoses


def judge(folder: Path, suppress: Mapping[str, str]) -> list[Diagnosis]:
    """What `tell_ending` returns, where it could not be printed."""
    return [diagnose(process, suppress) for process in read_run(folder).processes]


def print_observed(run: Run, suppress: Mapping[str, str], console: Console) -> list[Diagnosis]:
    """Print the diagnosis of a run, or why there is none; returns that of each process."""
    diagnoses = [diagnose(process, suppress) for process in run.processes]
    if any(process.sites for process in run.processes) or not all(one.nothing_observed for one in diagnoses):
        print_run(run, diagnoses, console)
    else:
        console.print(why_nothing(run), markup=False, highlight=False)
    if run.outcome is not None and run.outcome.exit_code > SIGNALLED:
        _plain(console, f"The script ended with exit code {run.outcome.exit_code}{_signal(run.outcome.exit_code)}.")
    told = any(process.changes for process in run.processes)
    for swap in run.manifest.swap:
        old = swap.partition("=")[0]
        if RunNote.nothing_swapped(old) in run.notes:
            _plain(console, f"Nothing was swapped: the training met no {old}.")
        elif not told:
            _plain(console, f"Requested: {swap}. The run ended before any replacement was recorded.")
    treated = {one.name for process in run.processes for one in process.treated}
    if run.manifest.rescale and "rescale" not in treated and RunNote.NOT_TREATED not in run.notes:
        _plain(console, "Nothing was rescaled: no observed model took an optimizer step.")
    if RunNote.LOOKED in run.notes:
        times, last = counted(int(run.notes[RunNote.LOOKED]), "time"), int(run.notes[RunNote.LAST_LOOK])
        looked = f"{times}, last after step {last:,}"
        _plain(console, f"Found no confirmed dead unit to recycle: searched {looked}.")
    return diagnoses


def next_commands(
    run: Run, diagnoses: Sequence[Diagnosis], shown: str, suppress: Mapping[str, str], *, explained: bool = False
) -> list[str]:
    """What to type next: the page, and where something is wrong how its cause is established.

    A comparison of activations answers what was found of a layer's units or of its gradient; it mends no loss, no data
    and no optimizer.
    """
    if all(diagnosis.nothing_observed for diagnosis in diagnoses):
        return []
    known = "".join(f" --suppress {shlex.quote(f'{key}={reason}')}" for key, reason in suppress.items())
    lines = [f"rectifier report {shlex.quote(shown)}{known} --html {shlex.quote(Path(shown).name)}.html"]
    alarms = [one for diagnosis in diagnoses for one in diagnosis.findings if one.severity != "info"]
    if alarms and not run.manifest.treated:
        if not explained:
            lines.append(f"rectifier explain {shlex.join(run.manifest.command)}")
        if any(isinstance(one.site, SiteRef) for one in alarms):
            lines.append(f"rectifier compare {shlex.join(with_seeds(run.manifest.command))}")
    return lines


def why_nothing(run: Run) -> str:
    """Why no activation was observed, as far as the evidence tells, and what to do."""
    failed = run.outcome is not None and run.outcome.exit_code != 0
    if RunNote.TORCH not in run.notes:
        if run.outcome is None:
            return "The script has not imported torch so far, so there was nothing to observe."
        ended = "The script ended before it imported torch" if failed else "The script never imported torch"
        return f"{ended}, so there was nothing to observe."
    if any(process.warnings for process in run.processes):
        return "\n".join(warning for process in run.processes for warning in process.warnings)
    if failed and RunNote.STEPS not in run.notes:
        return "Nothing observed: the script ended before its first training step."
    left_alone = [sentence for process in run.processes for sentence in recorded(process)]
    if left_alone:
        return "\n".join(["Nothing observed.", *dict.fromkeys(left_alone)])
    unseen = [unseen for process in run.processes for unseen in process.unseen]
    if unseen:
        listed = "\n".join(f"Not seen: {unseen_calls(one)} ({why_unseen(one)})." for one in dict.fromkeys(unseen))
        return f"Nothing observed: no activation that can be seen was called in the training forward.\n{listed}"
    if RunNote.ACTIVATIONS not in run.notes:
        return (
            "Nothing observed: torch was imported, but no activation was called in the training forward of a model. "
            "A forward under torch.no_grad() is not training; calls inside torch.compile or TorchScript and "
            "activations written by hand (torch.where) cannot be seen."
        )
    if RunNote.STEPS not in run.notes:
        return (
            "Activations were called, but no optimizer step and no change of a weight was seen, so there is no "
            "training to diagnose."
        )
    return "Nothing observed: the activations of the training ran in processes that wrote nothing."


def _signal(code: int) -> str:
    try:
        return f", as after {signal.Signals(code - SIGNALLED).name}"
    except ValueError:
        return ""


def _plain(console: Console, text: str) -> None:
    # Paths and commands are there to be copied: no colour, and no line broken in the middle.
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _shorten(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(folder)
