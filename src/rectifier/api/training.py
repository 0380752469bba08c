"""Watching a training, reading back what one wrote, and saying what was found."""

import random
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import nn

from rectifier.api.notebook import as_html
from rectifier.diagnosis import diagnose
from rectifier.monitor import MemorySink, Monitor, check_units, module_to_watch
from rectifier.records import Diagnosis, Explanation, Finding, Manifest, Run
from rectifier.report import sentences
from rectifier.report.sentences import Texts, told
from rectifier.storage import read_run


class Watch:
    """Observes a model's activations while it trains; made by `watch`.

    Attributes:
        model: The module being watched, None for every model of the process.
    """

    def __init__(
        self,
        model: nn.Module | None,
        *,
        budget: float,
        every: int | None,
        units: Mapping[str, int] | None,
        observe_compiled: bool = False,
    ) -> None:
        self.model = None if model is None else module_to_watch(model, observe_compiled=observe_compiled)
        self._sink = MemorySink()
        self._monitor = Monitor(
            self._sink,
            budget=budget,
            every=every,
            model=self.model,
            units=check_units(units, self.model),
            observe_compiled=observe_compiled,
        )
        self._started = datetime.now().astimezone()
        self._monitor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def detach(self) -> None:
        """Stop observing and take every interception away; what was seen stays. A second call does nothing."""
        self._monitor.stop()

    @property
    def run(self) -> Run:
        """Everything observed so far, as the record that reports are made from."""
        self._monitor.flush()
        name = type(self.model).__name__ if self.model is not None else "watch"
        manifest = Manifest.of_now(name, started=self._started)
        return Run(manifest=manifest, processes=(self._sink.process(),))

    def diagnose(self, *, suppress: Mapping[str, str] | None = None) -> Diagnosis:
        """What is wrong so far, most serious first; works between steps and after detaching.

        Args:
            suppress: Known findings and why they are no alarm: `{"dead-units:encoder.*": "gated by design"}`; they are
                then in `suppressed` instead of in `findings`.

        Raises:
            CannotSuppress: No finding has that name, or there is no reason; the text lists the names.
        """
        return told(diagnose(self.run.processes[0], suppress))

    def __repr__(self) -> str:
        run = self.run
        stream = random.getstate()
        try:
            # rich draws from Python's random stream when it is imported; that stream is the user's.
            from rectifier.report.text.run import run_text  # noqa: PLC0415

            return run_text(run, [diagnose(process) for process in run.processes])
        finally:
            random.setstate(stream)

    def _repr_html_(self) -> str:
        run = self.run
        return as_html("run_html")(run, [diagnose(process) for process in run.processes])


def watch(
    model: nn.Module | None = None,
    *,
    budget: float = 0.01,
    every: int | None = None,
    units: Mapping[str, int] | None = None,
    observe_compiled: bool = False,
) -> Watch:
    """Observe the activations of a model from now on, without touching it.

    The training is followed by its optimizer steps: at least one must come before there is anything to diagnose.
    Only forwards in training mode with gradients count.

    Args:
        model: The module whose forwards are observed; None observes every model of the process.
        budget: Largest share of the training time that watching may take, after the first 1,024 steps: these are
            sampled at a fixed rate.
        every: Sample every `every`-th step in full instead, whatever it costs.
        units: Where a site's units are if that is `unknown` or wrong: path of the module that applies the activation
            (`*` allowed) -> axis, 1 or -1: `{"mixer.*.act": -1}`.
        observe_compiled: At observed steps, run the forward of what is compiled a second time as it is written, and
            count there; losses, buffers and random streams stay the same to the bit. Note that what a forward prints,
            or writes to files or global variables, comes twice, and no gradients are seen.

    Returns:
        A context manager that can be asked at any time; as the last line of a notebook's cell it shows the diagnosis.

    Raises:
        CannotWatch: `model` is compiled and `observe_compiled` is not set, or no module, or `units` names none of its
            modules; the text has the line to write instead.

    Example:
        >>> import torch, rectifier
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with rectifier.watch(model) as watch:
        ...     for _ in range(7):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(11, 3)).square().mean().backward()
        ...         _ = optimizer.step()
        >>> [(site.path, site.units) for site in watch.run.processes[0].sites]
        [('1', 5)]
    """
    return Watch(model, budget=budget, every=every, units=units, observe_compiled=observe_compiled)


def read(path: str | Path) -> Run:
    """Read back what `rectifier run` wrote to a folder, also while the script still runs.

    Args:
        path: The run folder.

    Raises:
        UnreadableRun: The folder is missing, foreign, damaged, or of a newer version.

    Example:
        >>> import rectifier
        >>> rectifier.read("nowhere")
        Traceback (most recent call last):
        ...
        rectifier.errors.UnreadableRun: there is no nowhere. `ls rectifier-runs` shows the runs made from a folder.
    """
    return read_run(Path(path))


def describe(finding: Finding | Explanation) -> Texts:
    """Say in English what a finding or an explanation says: its title, detail, cause and advice.

    Findings of `watch.diagnose()`, `check` and `inspect_checkpoint` have these texts as attributes. This function also
    writes them for findings that do not, such as those of `rectifier.diagnosis.diagnose`.

    Args:
        finding: Of a diagnosis, a check or an inspection; or what `explain` returns.

    Example:
        >>> import torch, rectifier
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU())
        >>> (finding, *_) = rectifier.check(model, torch.ones(11, 3)).findings
        >>> finding.rule, finding.cause.kind
        (<Rule.OUTPUT_ACTIVATION: 'output-activation'>, <CauseKind.OUTPUT_ACTIVATION: 'output_activation'>)
        >>> rectifier.describe(finding).title
        'the network ends in relu'
    """
    return sentences.describe(finding)
