"""What frameworks log is kept in a comparison's trainings, under their names, and they go on as without us.

`lightning`, `transformers` and `tensorboard` are installed by `pip install -r tests/launch/other-peoples-scripts.txt`.
"""

import inspect
import subprocess
from types import ModuleType

import pytest
import torch

from rectifier.launch import Launch, start
from rectifier.launch.framework_logs import hear_frameworks
from rectifier.monitor import MemorySink, Monitor
from rectifier.records import Manifest
from rectifier.storage import read_run, write_manifest
from tests.launch.running import Case, environment, lay, python
from tests.launch.test_other_peoples_scripts import installed


class Trainer:
    """Like transformers': it tells a TensorBoard of its own of what it logs."""

    def __init__(self, writer):
        self.told = []
        self.writer = writer

    def log(self, logs: dict, start_time=None) -> None:
        self.told.append((dict(logs), start_time))
        for name, value in logs.items():
            self.writer.add_scalar(name, value, 3)
        self.writer.add_scalar("train/loss", logs["loss"], 3)


class SummaryWriter:
    def __init__(self):
        self.told = []

    def add_scalar(self, tag, scalar_value, global_step=None):
        if isinstance(scalar_value, list):
            raise ValueError("no list")
        self.told.append((tag, scalar_value, global_step))
        return len(self.told)

    def add_scalars(self, main_tag, tag_scalar_dict):
        self.told.append((main_tag, tag_scalar_dict))


def kept(use):
    """What a monitor has of what `use` logs through a heard trainer and writer; both classes are made anew."""
    trainers, writers = ModuleType("trainers"), ModuleType("writers")
    trainers.Trainer = type("Trainer", (), dict(vars(Trainer)))
    writers.SummaryWriter = type("SummaryWriter", (), dict(vars(SummaryWriter)))
    imported = {"transformers.trainer": trainers, "torch.utils.tensorboard.writer": writers}
    hear_frameworks(lambda name, then: then(imported[name]) if name in imported else None)
    sink = MemorySink()
    monitor = Monitor(sink)
    monitor.start()
    try:
        use(trainers.Trainer, writers.SummaryWriter)
    finally:
        monitor.stop()
    process = sink.process()
    return {name: process.series(name).values.tolist() for name in process.series_names}


def test_a_number_that_passes_two_logs_is_kept_once_and_reaches_both():
    def use(trainer, writer):
        one = trainer(writer())
        one.log({"eval_f1": 0.5, "loss": torch.tensor([2.5], requires_grad=True)}, start_time=7.0)
        one.log(logs={"eval_f1": 0.75, "loss": 2.0})
        assert [logs["eval_f1"] for logs, _ in one.told] == [0.5, 0.75]
        assert [at for _, at in one.told] == [7.0, None]
        assert len(one.writer.told) == 6

    # `loss` stays the name of what is back-propagated.
    assert kept(use) == {"eval_f1": [0.5, 0.75], "logged loss": [2.5, 2.0], "train/loss": [2.5, 2.0]}


def test_what_is_no_number_is_passed_over_and_errors_are_the_loggers_own():
    def use(trainer, writer):
        one = writer()
        assert one.add_scalar("acc", 1) == 1
        assert one.add_scalar(tag="acc", scalar_value=torch.tensor(0.5), global_step=9) == 2
        one.add_scalar("words", "0.5")
        one.add_scalar("missing", None)
        one.add_scalars("both", {"a": 1, "b": float("nan")})
        with pytest.raises(TypeError, match=r"add_scalar\(\) missing"):
            one.add_scalar("acc")
        with pytest.raises(ValueError, match="no list"):
            one.add_scalar("acc", [1])
        assert str(inspect.signature(writer.add_scalar)) == str(inspect.signature(SummaryWriter.add_scalar))

    found = kept(use)
    assert str(found.pop("both/b")) == "[nan]"
    assert found == {"acc": [1.0, 0.5], "both/a": [1.0]}


def test_a_version_that_logs_otherwise_is_left_alone():
    other = ModuleType("other")
    hear_frameworks(lambda name, then: then(other))
    assert [name for name in vars(other) if not name.startswith("__")] == []


LIGHTNING = """
import logging, warnings
import lightning
import torch
from torch import nn

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 2))

    def training_step(self, batch, index):
        loss = nn.functional.mse_loss(self.model(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        self.log("val_error", nn.functional.l1_loss(self.model(batch[0]), batch[1]))

    def on_validation_epoch_end(self):
        print("val_error", self.trainer.callback_metrics["val_error"].item().hex(), flush=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


lightning.seed_everything(7, verbose=False)
data = torch.utils.data.TensorDataset(torch.randn(45, 5), torch.randn(45, 2))
loader = torch.utils.data.DataLoader(data, 7)
lightning.Trainer(
    max_epochs=3, num_sanity_val_steps=0, accelerator="cpu", logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
).fit(Module(), loader, loader)
"""

TRAINER = """
from transformers import OPTConfig, OPTForCausalLM, PrinterCallback, Trainer, TrainingArguments, set_seed
import torch

set_seed(7)
model = OPTForCausalLM(OPTConfig(
    vocab_size=37, hidden_size=12, word_embed_proj_dim=12, num_hidden_layers=1, ffn_dim=22, num_attention_heads=2,
    max_position_embeddings=19,
))
rows = [{"input_ids": row, "labels": row} for row in torch.randint(3, 37, (41, 11))]
trainer = Trainer(
    model,
    TrainingArguments(
        "out", max_steps=6, per_device_train_batch_size=5, logging_steps=1, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, eval_strategy="steps", eval_steps=2,
    ),
    train_dataset=rows,
    eval_dataset=rows[:7],
)
trainer.remove_callback(PrinterCallback)
trainer.train()
for entry in trainer.state.log_history:
    for name in ("eval_loss", "loss", "grad_norm"):
        if name in entry:
            print(name, entry[name].hex())
"""

TENSORBOARD = """
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

torch.manual_seed(7)
model = nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 2))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
inputs, target = torch.randn(45, 5), torch.randn(45, 2)
with SummaryWriter("events") as writer:
    for step in range(7):
        loss = nn.functional.mse_loss(model(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        writer.add_scalar("fit/error", loss.sqrt(), step)
        print("fit/error", loss.sqrt().item().hex())

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator("events").Reload()
print(len(events.Scalars("fit/error")), events.Tags()["scalars"])
"""

CASES = {
    "lightning": (LIGHTNING, {"val_error": "val_error"}),
    "transformers": (TRAINER, {"eval_loss": "eval_loss", "grad_norm": "grad_norm", "loss": "logged loss"}),
    "tensorboard": (TENSORBOARD, {"fit/error": "fit/error"}),
}


def trial(case, here, monkeypatch):
    """The program as a comparison's training, what it printed, and the record."""
    folder = here.parent / "run"
    folder.mkdir()
    about = {"name": "run", "started": "", "rectifier": "", "python": ""}
    write_manifest(folder, Manifest(command=case.command, folder=str(folder), **about))
    for name, value in environment(case, here).items():
        monkeypatch.setenv(name, value)
    launch = Launch(command=case.command, folder=folder, frameworks=True, directory=here)
    output = here.parent / "output.txt"
    with output.open("wb") as file:
        code = start(launch, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    return code, output.read_text(), read_run(folder)


@pytest.mark.parametrize("framework", CASES)
def test_what_a_framework_logs_is_found_under_its_name(framework, tmp_path, record_property, monkeypatch):
    installed(framework, record_property)
    text, names = CASES[framework]
    case = Case({"train.py": text})
    lay(case, tmp_path / "here")
    code, printed, run = trial(case, tmp_path / "here", monkeypatch)
    assert code == 0, printed
    (process,) = run.processes
    for theirs, ours in names.items():
        told = [float.fromhex(line.split()[1]) for line in printed.splitlines() if line.split()[0] == theirs]
        assert len(told) >= 3
        assert process.series(ours).values.tolist() == told
    assert len(process.series("loss").values) == process.snapshots[-1].step + 1


@pytest.mark.proof
@pytest.mark.parametrize("framework", CASES)
def test_hearing_a_framework_changes_nothing_that_it_prints(framework, tmp_path, record_property, monkeypatch):
    installed(framework, record_property)
    case = Case({"train.py": CASES[framework][0]})
    for name in ("plain", "heard"):
        lay(case, tmp_path / name / "here")
    plainly = python(case, tmp_path / "plain" / "here")
    code, printed, _ = trial(case, tmp_path / "heard" / "here", monkeypatch)
    assert (plainly.code, plainly.out) == (code, printed), plainly.err
    files = [
        sorted(
            str(path.relative_to(tmp_path / name))
            for path in (tmp_path / name / "here").rglob("*")
            if "events.out" not in path.name
        )
        for name in ("plain", "heard")
    ]
    assert files[0] == files[1]
