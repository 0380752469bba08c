"""Trainings by other people's trainers and on several ranks: the same to the bit, and seen.

`lightning`, `transformers` and `accelerate` are installed by `pip install -r tests/launch/other-peoples-scripts.txt`.
"""

import re
import socket

from tests.launch.programs import EVIDENCE, MODELS
from tests.launch.running import Case, differences, lay, observed, python, rectifier
from tests.launch.test_other_peoples_scripts import installed

RANKS = (
    MODELS
    + EVIDENCE
    + """
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard


def train(model, wrapped, rank):
    optimizer = torch.optim.Adam(wrapped.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(rank)
    lines = []
    for _ in range(7):
        # 5 samples on one rank, 7 on the other.
        inputs = torch.randn(5 + 2 * rank, 5, generator=generator)
        optimizer.zero_grad()
        loss = wrapped(inputs).square().mean()
        loss.backward()
        optimizer.step()
        lines.append(loss.item().hex())
    print_together(lines, rank)
    whole = {name: value.full_tensor() if hasattr(value, "full_tensor") else value
             for name, value in model.state_dict().items()}
    print_together([(name, value.tolist()) for name, value in whole.items()], rank)


def print_together(lines, rank):
    gathered = [None, None]
    dist.all_gather_object(gathered, lines)
    if rank == 0:
        print(*gathered, sep="\\n", flush=True)


def sharded(model):
    fully_shard(model.second)
    return fully_shard(model)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
    for wrap in (nn.parallel.DistributedDataParallel, sharded):
        torch.manual_seed(7)
        model = Functional()
        train(model, wrap(model), rank)
    print_together([torch.get_rng_state().sum().item()], rank)
    dist.barrier()
    dist.destroy_process_group()
"""
)

LIGHTNING = (
    MODELS
    + EVIDENCE
    + """
import logging
import warnings

import lightning

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = Functional()

    def training_step(self, batch, index):
        loss = F.mse_loss(self.model(batch[0]), batch[1])
        print("loss", loss.item().hex(), flush=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


lightning.seed_everything(7, verbose=False)
data = torch.utils.data.TensorDataset(torch.randn(45, 5), torch.randn(45, 2))
module = Module()
lightning.Trainer(
    max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, gradient_clip_val=0.5,
).fit(module, torch.utils.data.DataLoader(data, 7, shuffle=True))
evidence(module)
"""
)

TRAINER = (
    EVIDENCE
    + """
import torch
from transformers import OPTConfig, OPTForCausalLM, PrinterCallback, Trainer, TrainingArguments, set_seed

set_seed(7)
model = OPTForCausalLM(OPTConfig(
    vocab_size=37, hidden_size=12, word_embed_proj_dim=12, num_hidden_layers=2, ffn_dim=22, num_attention_heads=2,
    max_position_embeddings=19,
))
tokens = torch.randint(3, 37, (41, 11))
trainer = Trainer(
    model,
    TrainingArguments(
        "out", max_steps=7, per_device_train_batch_size=5, logging_steps=1, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    ),
    train_dataset=[{"input_ids": row, "labels": row} for row in tokens],
)
trainer.remove_callback(PrinterCallback)
trainer.train()
for entry in trainer.state.log_history:
    print("loss", entry.get("loss"), entry.get("grad_norm"))
evidence(model)
"""
)

ACCELERATE = (
    MODELS
    + EVIDENCE
    + """
from accelerate import Accelerator
from accelerate.utils import set_seed

set_seed(7)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
data = torch.utils.data.TensorDataset(torch.randn(95, 5), torch.randn(95, 2))
model = Functional()
model, optimizer, loader = accelerator.prepare(
    model, torch.optim.SGD(model.parameters(), 0.1), torch.utils.data.DataLoader(data, 7, shuffle=True)
)
for inputs, target in loader:
    with accelerator.accumulate(model):
        loss = F.mse_loss(model(inputs), target)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    print("loss", loss.item().hex(), flush=True)
evidence(accelerator.unwrap_model(model))
"""
)


def run_both(text, tmp_path, command=("train.py",)):
    case = Case({"train.py": text}, command)
    lay(case, tmp_path / "here")
    plainly = python(case, tmp_path / "here")
    assert plainly.code == 0, plainly.err
    # On a busy machine the budget may thin out the steps that are counted here.
    ours, (run,) = rectifier(case, tmp_path / "here", "--every", "1")
    assert differences(plainly, ours) == []
    assert [process.warnings for process in run.processes] == [()] * len(run.processes)
    return plainly, run


def test_two_ranks_of_ddp_and_of_fsdp2(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = ("--master-addr", "127.0.0.1", "--master-port", str(free.getsockname()[1]))
    command = ("-m", "torch.distributed.run", *address, "--nproc-per-node", "2", "train.py")
    for attempt in range(3):
        try:
            plainly, run = run_both(RANKS, tmp_path / str(attempt), command)
            break
        except AssertionError as error:
            # Threads of gloo's that outlive the interpreter abort a rank now and then, with and without us.
            if "terminate called without an active exception" not in str(error) or attempt == 2:
                raise
    assert len(re.findall("0x", plainly.out)) == 2 * 2 * 7
    # Counted together: 5 samples a step on one rank, 7 on the other.
    (process,) = run.processes
    assert (process.writer.ranks, process.writer.world_size) == (2, 2)
    assert [(site.model, site.activation, site.units) for site in process.sites] == [
        (name, activation, units)
        for name in ("Functional", "Functional#2")
        for activation, units in (("relu", 11), ("tanh", 3), ("relu", 3))
    ]
    visits = [sum(w.visits for s in process.snapshots for w in s.windows if w.site == i) for i in range(6)]
    assert visits == [7 * 12] * 6


def test_lightning(tmp_path, record_property):
    installed("lightning", record_property)
    plainly, run = run_both(LIGHTNING, tmp_path)
    assert plainly.out.count("loss") == 7
    (process,) = run.processes
    assert [(site.model, site.path) for site in process.sites] == [("Functional", "")] * 3
    assert observed(run) == 3 * 45


def test_the_trainer_of_hugging_face_with_opt(tmp_path, record_property):
    installed("transformers", record_property)
    installed("accelerate", record_property)
    plainly, run = run_both(TRAINER, tmp_path)
    assert plainly.out.count("loss") == 8
    (process,) = run.processes
    assert [(site.model, site.path, site.units) for site in process.sites] == [
        ("OPTForCausalLM", f"model.decoder.layers.{layer}.activation_fn", 22) for layer in (0, 1)
    ]
    # Units are channels, samples are tokens.
    assert observed(run) == 2 * 7 * 5 * 11


def test_accelerate_with_accumulated_gradients(tmp_path, record_property):
    installed("accelerate", record_property)
    plainly, run = run_both(ACCELERATE, tmp_path)
    assert plainly.out.count("loss") == 14
    assert observed(run) == 3 * 95
    (process,) = run.processes
    assert process.snapshots[-1].cost.steps == 7
