"""The public verbs for Python: each composes rooms, and does nothing else."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor, get_num_threads, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam, Optimizer

from rectifier import monitor, treatment
from rectifier.checkpoints import read_checkpoint
from rectifier.comparison.question import (
    DEFAULT_ARMS,
    DEFAULT_SEEDS,
    LOSS,
    MODEL_ARMS,
    MODEL_SEEDS,
    Question,
    arms_from,
)
from rectifier.comparison.question import higher_is_better as direction_of
from rectifier.diagnosis import diagnose, judge_census, judge_checkpoint, judge_probe
from rectifier.errors import NothingToCompare
from rectifier.monitor import MemorySink, Monitor, check_units, module_to_watch
from rectifier.records import Autopsy, Census, Comparison, Diagnosis, Finding, Manifest, Preflight, Run, Trial, shown_by
from rectifier.report import sentences
from rectifier.report.sentences import Texts, told
from rectifier.storage import read_run
from rectifier.treatment import Prescription

log = monitor.log
swap = treatment.swap
recycle = treatment.recycle
rescale = treatment.rescale


def _as_html(name: str) -> Callable[..., str]:
    """A writer of `report.notebook`, loaded when a notebook asks for it."""

    def render(*facts: Any) -> str:
        stream = random.getstate()
        try:
            # As in __repr__: what is imported here may draw from the random stream, which is the user's.
            from rectifier.report import notebook  # noqa: PLC0415

            written: str = getattr(notebook, name)(*facts)
            return written
        finally:
            random.setstate(stream)

    return render


shown_by(Diagnosis, _as_html("diagnosis_html"))
shown_by(Comparison, _as_html("comparison_html"))


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
        beside: bool = False,
    ) -> None:
        self.model = None if model is None else module_to_watch(model, beside=beside)
        self._sink = MemorySink()
        self._monitor = Monitor(
            self._sink,
            budget=budget,
            every=every,
            model=self.model,
            units=check_units(units, self.model),
            beside=beside,
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

    def diagnose(self, *, silence: Mapping[str, str] | None = None) -> Diagnosis:
        """What is wrong so far, most serious first; works between steps and after detaching.

        Args:
            silence: Known findings and why they are no alarm: `{"dead-units:encoder.*": "gated by design"}`; they are
                then in `suppressed` instead of in `findings`.

        Raises:
            CannotSilence: No finding has that name, or there is no reason; the text lists the names.
        """
        return told(diagnose(self.run.processes[0], silence))

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
        return _as_html("run_html")(run, [diagnose(process) for process in run.processes])


def watch(
    model: nn.Module | None = None,
    *,
    budget: float = 0.01,
    every: int | None = None,
    units: Mapping[str, int] | None = None,
    beside: bool = False,
) -> Watch:
    """Observe the activations of a model from now on, without touching it.

    The training is followed by its optimizer steps: at least one must come before there is anything to diagnose.
    Only forwards in training mode with gradients count.

    Args:
        model: The module whose forwards are observed; None observes every model of the process.
        budget: Largest share of the training time that watching may take.
        every: Observe every so many steps instead, whatever it costs.
        units: Where a site's units are if that is `unknown` or wrong: path of the module that applies the activation
            (`*` allowed) -> axis, 1 or -1: `{"mixer.*.act": -1}`.
        beside: At observed steps, run the forward of what is compiled a second time as it is written, and count
            there; losses, buffers and random streams stay the same to the bit. The trap: what a forward prints, or
            writes to files or global variables, comes twice, and no gradients are seen.

    Returns:
        A context manager that can be asked at any time; as the last line of a notebook's cell it shows the diagnosis.

    Raises:
        CannotWatch: `model` is compiled and `beside` is not set, or no module, or `units` names none of its modules;
            the text has the line to write instead.

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
    return Watch(model, budget=budget, every=every, units=units, beside=beside)


def census(
    model: nn.Module, loader: Iterable[Any], *, forward: Callable[[nn.Module, Any], Any] | None = None
) -> Census:
    """Count, over a whole data set, which units of a trained network are dead, rare or always on.

    The model runs in eval mode without gradients. Its modes, buffers, gradients and every random stream are afterwards
    as they were; what a forward writes into plain Python attributes is not put back. The trap: a unit that is silent
    on these data may fire on others; `firing_bound` says how often at most, on data like these.

    Args:
        model: Any module.
        loader: Its batches, once, targets and all. The model gets what its forward takes: of a tuple or list as many
            of the first entries as it requires, mostly one; of a mapping the entries that it names; anything else as
            the one argument.
        forward: How to call the model otherwise: `lambda model, batch: model(batch["x"], batch["mask"])`.

    Raises:
        CannotProbe: The model cannot be run on a batch, or there is none.

    Example:
        >>> import torch, rectifier
        >>> layer = torch.nn.Linear(2, 3)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, -1.0], [1.0, 1.0]]))
        >>> _ = layer.bias.data.copy_(torch.tensor([0.0, 0.0, 5.0]))
        >>> batches = torch.arange(1, 701).div(700).unsqueeze(1).repeat(1, 2).split(100)
        >>> (row,) = rectifier.census(torch.nn.Sequential(layer, torch.nn.ReLU()), batches).layers
        >>> row.units, row.silent, row.silent_means, row.silent_units, row.always_on_units
        (3, 1, 'dead', (1,), (0, 2))
        >>> round(row.firing_bound, 4)
        0.0043

    Source: bound by the rule of three, Hanley & Lippman-Hand 1983.
    """
    name, batches, samples, distinct, counts = monitor.count_units(model, loader, forward)
    layers = judge_census(counts, distinct)
    return Census(model=name, batches=batches, samples=samples, distinct_samples=distinct, layers=layers)


def check(
    model: nn.Module,
    batch: Any,
    *,
    silence: Mapping[str, str] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> Preflight:
    """Look at an untrained network with one forward and one backward pass, and say what keeps it from learning.

    Nothing is trained, and modes, buffers, gradients and random streams are afterwards as they were. The trap: what is
    fine here may still die in training; what is not fine here will not get better.

    Args:
        model: Any module; each of its parts runs in the mode that it is in.
        batch: As a loader yields it, of the user's data. The model gets what its forward takes: of a tuple or list as
            many of the first entries as it requires, mostly one; of a mapping the entries that it names; anything else
            as the one argument.
        silence: Known findings and why they are no alarm: `{"output-activation": "targets are counts"}`.
        forward: How to call the model otherwise: `lambda model, batch: model(batch["x"], batch["mask"])`.
        loss: `loss(output, batch)` to back-propagate; without one, the output times fixed random signs.

    Raises:
        CannotProbe: The model or the loss cannot be run on the batch, or nothing in the output has a gradient.
        CannotSilence: No finding has that name, or there is no reason.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1), torch.nn.ReLU())
        >>> found = rectifier.check(model, torch.randn(11, 3))
        >>> [(finding.severity, finding.title) for finding in found.findings]
        [('warning', 'the network ends in relu')]
        >>> [(layer.site, layer.units, layer.samples) for layer in found.layers]
        [('Sequential.1', 5, 11), ('Sequential.3', 1, 11)]

    Source: exact results on signal propagation and born-dead networks (He et al. 2015; Lu et al. 2019).
    """
    return check_batch(model, batch, silence=silence, forward=forward, loss=loss)


def check_batch(
    model: nn.Module,
    batch: Any,
    *,
    silence: Mapping[str, str] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    measured: bool = True,
) -> Preflight:
    """As `check`; `measured` is False for random numbers, whose offset is not worth telling."""
    return told(judge_probe(monitor.probe_model(model, batch, forward, loss), silence, measured=measured))


def compare(
    train: Callable[[int], Any],
    *,
    arms: str | Iterable[str] = DEFAULT_ARMS,
    seeds: int = DEFAULT_SEEDS,
    looks: Sequence[int] | None = None,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    margin: float | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Comparison:
    """Ask whether another activation helps a training that is a function, paired by seed, beside a placebo.

    The function is called once for each arm and seed, in this process, with every random stream seeded before; it
    must build its model itself, because the activation is exchanged as the model is built. Afterwards the random
    streams of the processor are as they were, and that of a GPU if it was in use before. Unlike `rectifier compare` on
    a script nothing is kept on disk, and nothing keeps the trainings apart: what one leaves in a global variable or a
    file, the next one finds.

    Args:
        train: Trains from the seed that it is given, and returns the metric, or None for the loss.
        arms: What to put in the place of ReLU; `half-lr` and `restart` leave it (`rescale` is for scripts).
        seeds: Trainings per arm.
        looks: Numbers of seeds at which to judge, and after which settled arms are trained no more: `[12, 24, 48]`.
            None for a quarter, a half, and all of them, where a verdict is possible; `[seeds]` for the end alone.
        metric: Name of what is returned: `test_accuracy`. None compares the loss that is back-propagated, and then
            nothing is to be returned.
        higher_is_better: Its direction; None tells it from the name.
        margin: Smallest difference that matters; without one, "no difference" is never claimed.
        on_trial: Called after each training, for a progress bar.

    Raises:
        NothingToCompare: The function gives no number, or one without a name; or the direction cannot be told.
        UnknownActivation: An arm is not in the catalogue.

    Example:
        >>> import torch, rectifier
        >>> inputs = torch.linspace(-1, 1, 64)[:, None]
        >>> def train(seed):
        ...     model = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        ...     for _ in range(20):
        ...         loss = (model(inputs) - inputs.abs()).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> found = rectifier.compare(train, arms=["elu"], seeds=3)
        >>> [(arm.arm, arm.n) for arm in found.arms], found.smallest_n
        ([('as is', 3), ('elu:1.0', 3), ('placebo', 3)], 7)
    """
    # A script that only logs must not pay for the statistics.
    from rectifier.comparison.function import compare_function  # noqa: PLC0415

    if seeds < 1:
        raise NothingToCompare(
            f"seeds={seeds}: a comparison takes at least one seed, and 7 before one arm can be judged."
        )
    from rectifier.comparison.statistics.interim import checked_looks, default_looks  # noqa: PLC0415

    name = getattr(train, "__qualname__", type(train).__name__)
    metric = metric or LOSS
    chosen = arms_from(arms if isinstance(arms, str) else ",".join(arms))
    question = Question(
        command=(name,),
        script=None,
        arms=chosen,
        seeds=seeds,
        metric=metric,
        summary="last-tenth",
        higher_is_better=direction_of(metric) if higher_is_better is None else higher_is_better,
        margin=margin,
        threads=get_num_threads(),
        compared="function",
        looks=default_looks(seeds, len(chosen)) if looks is None else checked_looks(looks, seeds, len(chosen)),
    )
    return compare_function(train, question, on_trial)


def compare_models(
    build: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor, Tensor, Tensor],
    *,
    arms: Iterable[str] = MODEL_ARMS,
    seeds: int = MODEL_SEEDS,
    looks: Sequence[int] | None = None,
    epochs: int = 25,
    batch_size: int = 64,
    optimizer: Callable[[Iterable[Tensor]], Optimizer] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    score: Callable[[Tensor, Tensor], Any] | None = None,
    metric: str = "accuracy",
    higher_is_better: bool | None = None,
    margin: float | None = None,
    seed: int = 0,
    together: bool = True,
    on_arm: Callable[[str], None] = lambda arm: None,
) -> Comparison:
    """Ask whether another activation helps a network that is small enough to train all seeds of an arm at once.

    All seeds of an arm are one batched ensemble; where a model cannot be batched (dropout), or where the first steps
    would not be the same, they are trained one after another, and `settings` of the result says why.

    Warning:
        The training is ours, not yours: shuffled batches, one optimizer, no schedule.

    Args:
        build: Makes an untrained model with ReLU; whatever it draws comes from torch's random stream, seeded before.
        data: Inputs (n, ...) and targets (n, ...) to train on, the same to test on.
        arms: What to put in the place of ReLU.
        seeds: Trainings per arm.
        looks: Numbers of seeds at which to judge, and after which settled arms are trained no more: `[12, 24, 48]`.
            None for the end alone, because all seeds of an arm at once are quickest a training.
        epochs: Passes over the training inputs.
        batch_size: Samples a step; the last batch of an epoch may be smaller.
        optimizer: Makes one for parameters; Adam with rate 0.001 when None. Several threads may call it, and the loss.
        loss: Mean loss of outputs and targets.
        score: The metric of the outputs and targets of the test; the share of right classes when None.
        metric: Its name.
        higher_is_better: Its direction; None tells it from the name.
        margin: Smallest difference that matters; without one, "no difference" is never claimed.
        seed: Other seed, other draws.
        together: False trains one after another also where a model can be batched.
        on_arm: Called after each arm, for a progress bar.

    Raises:
        NothingToCompare: There are no data, the direction cannot be told, or no arm is left.
        UnknownActivation: An arm is not in the catalogue.
        CannotSwap: The model has no ReLU.

    Example:
        >>> import torch, rectifier
        >>> def build():
        ...     return torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
        >>> inputs = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        >>> labels = (inputs.prod(1) > 0).long()
        >>> data = inputs[:44], labels[:44], inputs[44:], labels[44:]
        >>> found = rectifier.compare_models(build, data, arms=["elu"], seeds=3, epochs=2, batch_size=11)
        >>> [(arm.arm, arm.n) for arm in found.arms], found.smallest_n
        ([('as is', 3), ('elu:1.0', 3), ('placebo', 3)], 7)
    """
    # A script that only logs must not pay for the statistics.
    from rectifier.comparison.models import compare as models  # noqa: PLC0415
    from rectifier.comparison.models.draws import Recipe  # noqa: PLC0415
    from rectifier.comparison.models.ensemble import Task  # noqa: PLC0415

    task = Task(
        build=build,
        inputs=data[0],
        targets=data[1],
        test_inputs=data[2],
        test_targets=data[3],
        recipe=Recipe(epochs=epochs, batch_size=batch_size),
        optimizer=optimizer or partial(Adam, lr=1e-3, fused=True),
        loss=loss,
        score=score or models.accuracy,
    )
    return models.compare_trained(
        task,
        models.activations(arms),
        seeds,
        looks=looks,
        seed=seed,
        metric=metric,
        higher_is_better=direction_of(metric) if higher_is_better is None else higher_is_better,
        margin=margin,
        together=together,
        on_arm=on_arm,
    )


def prescribe(findings: Finding | Iterable[Finding] | Diagnosis | Watch) -> Prescription:
    """Put together the ladder of treatments for what was found, mildest first.

    The rungs are: advice only; a ReLU with a leaky backward (the function stays the same); Leaky ReLU in the affected
    layers; rescaled initial weights, if initialisation was the cause; recycling of dead units. Treatments that the
    findings do not call for are left out, with the reason.

    Warning:
        It is not proved that any of these treatments helps here. Apply one, go on training, and compare with a training
        without it.

    Args:
        findings: A watch, its diagnosis, or findings of it.

    Returns:
        A sequence of rungs, each with `changes`, `loses`, `cost`, `expect`, `code`, and `apply(model, optimizer,
        batch)`.

    Raises:
        CannotPrescribe: These are no findings.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
        >>> _ = model[0].bias.data.fill_(-100)
        >>> optimizer, x = torch.optim.Adam(model.parameters()), torch.randn(4000, 5)
        >>> with rectifier.watch(model) as watch:
        ...     model(x).square().mean().backward()
        ...     optimizer.step()
        >>> ladder = rectifier.prescribe(watch)
        >>> [rung.name for rung in ladder]
        ['advice', 'leaky_grad', 'swap', 'recycle']
        >>> print(ladder["swap"].code)
        rectifier.swap(model, 'relu', 'leaky_relu:0.1')
        >>> ladder["swap"].apply(model)
        relu → leaky_relu:0.1 in 1 place
          1

    Source: He et al. 2015, arXiv:1502.01852; Mishkin et al. 2017, arXiv:1606.02228; Dohare et al. 2024, Nature 632.
    """
    if isinstance(findings, Finding):
        return treatment.prescribe(sentences.told_finding(findings))
    if isinstance(findings, Diagnosis):
        return treatment.prescribe(told(findings))
    if isinstance(findings, Iterable):
        findings = [sentences.told_finding(one) if isinstance(one, Finding) else one for one in findings]
    return treatment.prescribe(findings)


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


def autopsy(
    path: str | Path, earlier: str | Path | None = None, *, silence: Mapping[str, str] | None = None
) -> Autopsy:
    """Tell from a checkpoint alone which units have not learned, and for how long: no model code, no data.

    A row of a weight is what leads into one unit. While a row has no gradient, what the optimizer remembers of it fades
    at a known pace, which is a clock: Adam's momentum tells up to about 700 steps, to some twenty steps; its second
    moment tells longer silences, and so does SGD's momentum or RMSprop's second moment, as long as the row's gradients
    were not a thousand times unlike those of the rows that still learn. Intervals hold under that assumption. "Without
    gradient" means without one of the usual size: a unit that still gets a hundred-thousandth of it counts as silent.

    The trap: a file holds neither activations nor data. A row without gradient is most often a dead unit, but may
    belong to a part that the loss does not reach; unused rows of an embedding are normal and not reported. Of weights
    alone, without an optimizer, only this is certain: behind a ReLU, inputs ≥ 0 never fire a unit that has no positive
    weight and no positive bias.

    The file is mapped, not loaded, and nothing in it is executed; a pickled module is therefore refused.

    Args:
        path: A state dict; a dictionary with one and the optimizer's under any names; a Lightning checkpoint; a
            safetensors file; or a folder as Hugging Face writes it.
        earlier: A checkpoint of the same training from before: rows with the same bits in both did not learn between.
        silence: Known findings, by name and weight, with the reason: `{"silent-rows:head.*": "not trained yet"}`.

    Returns:
        Findings, most serious first; one row per weight; and what could not be told, and why.

    Raises:
        UnreadableCheckpoint: A file is missing, damaged, of another format, or cannot be opened without running code.
        CannotSilence: `silence` holds a name that no finding has, or no reason.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        >>> _ = torch.nn.init.constant_(model[0].bias[:2], -99.0)  # two units that never fire
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> for _ in range(150):
        ...     optimizer.zero_grad()
        ...     model(torch.randn(11, 3)).add(1).square().mean().backward()
        ...     _ = optimizer.step()
        >>> torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
        >>> found = rectifier.autopsy("checkpoint.pt")
        >>> found.findings[0].title, found.findings[0].units[:2]
        ('0.weight: 2 of 5 rows without gradient', (0, 1))
        >>> print(found.findings[0].detail)
        2 rows never had a gradient in 150 steps. Of these, 2 rows whose bias lies so far below 0 that ...
    """
    return told(judge_checkpoint(read_checkpoint(Path(path), None if earlier is None else Path(earlier)), silence))


def describe(finding: Finding) -> Texts:
    """Say in English what a finding says: its title, detail, cause and advice.

    Findings of `watch.diagnose()`, `check` and `autopsy` have these texts as attributes. This function also writes them
    for findings that do not, such as those of `rectifier.diagnosis.diagnose`.

    Args:
        finding: Of a diagnosis, a check or an autopsy.

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
