"""Whole files of the three kinds, made by our own code: what the mutators damage. A file is its name and its bytes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from rectifier.comparison.archive import open_archive
from rectifier.comparison.question import Question
from rectifier.monitor import Monitor
from rectifier.records import (
    Applied,
    Change,
    ChangedPart,
    Failure,
    FailureKind,
    Manifest,
    Outcome,
    RecycledUnits,
    RescaledLayers,
    Sight,
    SightKind,
    SwappedActivation,
    Treated,
    Treatment,
    Trial,
    Unseen,
    Warned,
    WhyUnseen,
)
from rectifier.storage import RunWriter, write_explanation, write_manifest, write_note, write_outcome
from tests.report.builders import make_saved

Files = dict[str, bytes]


def files_of(folder: Path) -> Files:
    """Names and contents of all files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_files(folder: Path, files: Files) -> None:
    """Write them into a folder, in which nothing else is left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def make_runs(folder: Path) -> list[Files]:
    """Runs of a healthy network, of one that breaks, of two ranks, and one with all kinds of facts."""
    healthy = _run(folder / "healthy", nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 1)), 0.1)
    broken = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 3))
    classes = _run(folder / "broken", broken, 1e6, classes=True)
    dead = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3), nn.LeakyReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        dead[0].bias[:3] = -50.0
    everything = _run(folder / "everything", dead, 0.05, others=True, steps=24)
    return [healthy, classes, everything, _two_ranks(healthy)]


def _run(path, model, rate, *, classes=False, others=False, steps=12) -> Files:
    path.mkdir(parents=True)
    manifest = Manifest.of_now(path.name, command=("train.py", "--lr", "0.1"), folder=str(path))
    write_manifest(path, replace(manifest, swap=("relu=elu:1.0",), recycle=5) if others else manifest)
    sink = RunWriter(path)
    if others:
        _record_others(sink)
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    inputs, targets = torch.randn(23, 7), torch.randn(23, 1)
    monitor = Monitor(sink, budget=1.0, every=1, model=model)
    monitor.start()
    for _ in range(steps):
        output = model(inputs)
        loss = (
            nn.functional.cross_entropy(output, torch.arange(23) % 3) if classes else (output - targets).square().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    monitor.stop()
    for name, text in (("torch", "2.13.0"), ("activations", ""), ("steps", "")):
        write_note(path, name, text)
    if others:
        write_note(path, "looked_for_dead_units", "3")
        write_note(path, "last_look_for_dead_units", "20")
        write_note(path, "nothing_swapped relu", "")
        write_explanation(path, make_saved())
    write_outcome(path, Outcome(exit_code=3 if classes else 0, seconds=1.5))
    return {_plain(name): data for name, data in files_of(path).items()}


def _plain(name: str) -> str:
    kind, _, rest = name.partition("-")
    return f"process-7-{rest.partition('-')[2]}" if kind == "process" else name


def _record_others(sink: RunWriter) -> None:
    sink.record(Unseen(what="torch.where", why=WhyUnseen.HAND_WRITTEN))
    sink.record(Warned("an activation could not be counted"))
    swapped = SwappedActivation(old="relu", new="elu:1.0", places=("1", "3"))
    sink.record(Treated(step=3, name=Treatment.SWAP, swapped=swapped))
    rescaled = RescaledLayers(model="Sequential", mode="gain", layers=2, smallest_factor=0.5, largest_factor=2.0)
    sink.record(Treated(step=-1, name=Treatment.RESCALE, rescaled=rescaled))
    recycled = RecycledUnits(by_site={"1": 2})
    sink.record(Treated(step=9, name=Treatment.RECYCLE, recycled=recycled, units={"1": (0, 2)}))
    part = ChangedPart(name="relu", path="1", place="train.py:4")
    sink.record(Applied(change=Change.CLIP_GRADIENT, times=3, before=5.0, after=1.0, place="train.py:9", parts=(part,)))
    sink.record(
        Sight(kind=SightKind.GRADIENT_LOST, operation="sqrt", place="train.py:4", step=2, numbers={"share": 0.5})
    )


def _two_ranks(run: Files) -> Files:
    (name,) = (name for name in run if name.endswith(".jsonl") and name.startswith("process-"))
    rest = {other: data for other, data in run.items() if not other.startswith("process-")}
    for rank in range(2):
        lines = run[name].split(b"\n")
        at = next(index for index, line in enumerate(lines) if b'"kind":"writer"' in line)
        line = json.loads(lines[at])
        line["data"] |= {"rank": rank, "world_size": 2, "replica": True}
        lines[at] = json.dumps(line).encode()
        rest[f"process-{rank + 1}-0.jsonl"] = b"\n".join(lines)
    return rest


QUESTION = Question(
    command=("train.py", "--seed", "{seed}"), script="0" * 64, arms=("leaky_relu:0.1", "half-lr", "restart"), seeds=5,
    metric="loss", summary="last-tenth", higher_is_better=False, margin=0.1, threads=1, interim=(3, 5),
)  # fmt: skip
"""What the comparisons of the corpus ask."""


def trial_of(spec, question) -> Trial:
    """How a training of the corpus ends: some fail."""
    number = int(spec.key[:6], 16)
    kinds = list(FailureKind)
    failed = Failure(kinds[number % len(kinds)], "3") if number % 4 == 0 else None
    return Trial(
        arm=spec.arm, seed=spec.seed, metric=None if failed else 0.5 + number % 1000 / 1000, failed=failed,
        dead_fraction=number % 7 / 10, seconds=0.5, fingerprint=spec.key, asked=question.asked, run="trials/x/run",
    )  # fmt: skip


def make_comparisons(folder: Path) -> list[Files]:
    """A finished comparison, and one of small models that has just begun."""
    found = []
    for name, kept in (("finished", 100), ("begun", 7)):
        with open_archive(folder / name) as archive:
            archive.keep_question(QUESTION)
            for spec in list(QUESTION.plan())[:kept]:
                archive.record(spec.key, trial_of(spec, QUESTION))
            archive.keep_judged(QUESTION)
            archive.add_seconds(3.0)
        found.append(files_of(folder / name))
    return found


def make_checkpoints(folder: Path) -> list[Files]:
    """A state dict beside Adam's, plain and in torch's old format; a safetensors file; a folder of shards."""
    folder.mkdir(parents=True)
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(11, 7)).square().mean().backward()
        optimizer.step()
    both = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 3}
    return [
        {"file.pt": _saved(folder, both)},
        {"file.pt": _saved(folder, both, _use_new_zipfile_serialization=False)},
        {"file.pt": _saved(folder, {"hyper_parameters": {"lr": 0.1}, "state_dict": model.state_dict()})},
        {"file.safetensors": _safetensors(model)},
        {
            "model.safetensors.index.json": json.dumps(
                {"weight_map": dict.fromkeys(model.state_dict(), "model-1.safetensors")}
            ).encode(),
            "model-1.safetensors": _safetensors(model),
            "optimizer.pt": _saved(folder, optimizer.state_dict()),
        },
    ]


def _saved(folder: Path, content, **options) -> bytes:
    torch.save(content, folder / "saved.pt", **options)
    return (folder / "saved.pt").read_bytes()


def _safetensors(model) -> bytes:
    from safetensors.torch import save

    return save(model.state_dict())
