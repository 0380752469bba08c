"""Checkpoints that are legal and rare, and some that were made to be waited for or to fill the memory."""

import contextlib
import json
import os
import sys
import zipfile
from functools import reduce

import pytest
import torch
from torch import nn

from rectifier import inspect_checkpoint
from rectifier.errors import UnreadableCheckpoint
from rectifier.records import NotTold
from tests.fuzz.watching import watch_call


def trained(betas=(0.9, 0.999)):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.AdamW(model.parameters(), betas=betas)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(11, 7)).square().mean().backward()
        optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def saved(content, tmp_path):
    torch.save(content, tmp_path / "file.pt")
    return tmp_path / "file.pt"


def inspected(path):
    """What an inspection says, in time and without much memory."""
    found = []
    seen = watch_call(
        lambda: found.append(inspect_checkpoint(path)), room=path.stat().st_size, allowed=(UnreadableCheckpoint,)
    )
    assert seen.wrong == "", seen
    return found[0] if found else seen.text


# Adam of torch takes a beta of 1 no more; other optimizers of that form do.
@pytest.mark.parametrize(("beta", "why"), [(0.0, NotTold.MOMENTUM_OUTLIVES), (1.0, NotTold.FORGETS_NOTHING)])
def test_a_second_moment_that_forgets_all_or_nothing_is_no_clock(beta, why, tmp_path):
    content = trained(betas=(0.9, 0.0))
    content["optimizer"]["param_groups"][0]["betas"] = (0.9, beta)
    found = inspected(saved(content, tmp_path))
    assert why in {one.why.kind for one in found.untold}


def test_numbers_of_four_bits_are_told_as_not_looked_at(tmp_path):
    packed = torch.zeros(8, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    found = inspected(saved({**trained()["model"], "packed.weight": packed, "packed.bias": packed[0]}, tmp_path))
    (told,) = [one for one in found.untold if one.why.kind is NotTold.WEIGHTS_NOT_PLAIN_NUMBERS]
    assert told.why.details == ("packed.weight",)
    assert len(found.layers) == 2


@pytest.fixture
def deep_stack():
    """Writing a deep file takes a deep stack; reading it must not."""

    @contextlib.contextmanager
    def deep():
        usual = sys.getrecursionlimit()
        sys.setrecursionlimit(100_000)
        try:
            yield
        finally:
            sys.setrecursionlimit(usual)

    return deep()


@pytest.mark.parametrize("depth", [4, 5_000])
def test_weights_are_found_however_deep_they_lie(depth, tmp_path, deep_stack):
    deep = reduce(lambda inner, _: {"a": inner}, range(depth), trained())
    with deep_stack:
        path = saved({"extra": deep}, tmp_path)
    assert len(inspected(path).layers) == 2


def test_containers_that_hold_each_other_many_times_are_each_read_once(tmp_path):
    shared = whole = trained()
    for _ in range(4):
        shared = {f"part{number}": shared for number in range(100)}
    shared["itself"] = shared
    states = whole["optimizer"]
    for _ in range(4):
        states = [states] * 100
    path = saved({"deep": shared, "lists": states}, tmp_path)
    assert path.stat().st_size < 100_000
    assert len(inspected(path).layers) == 2


def test_twenty_thousand_weights(tmp_path):
    many = {f"layer.{number}.weight": torch.zeros(2, 2) for number in range(20_000)}
    from rectifier.checkpoints.rows import normalised, unit_axes

    assert watch_call(lambda: normalised(many, unit_axes(many))).wrong == ""


def test_the_same_numbers_shown_again_and_again_are_refused(tmp_path):
    numbers = torch.zeros(1_000, 1_001)
    views = {f"layer.{number}.weight": numbers[:, number % 2 : 1_000 + number % 2] for number in range(100)}
    assert "shows the same numbers many times" in inspected(saved(views, tmp_path))
    shared = {f"layer.{number}.weight": numbers[:500, :500] for number in range(12)}
    assert len(inspected(saved(shared, tmp_path)).layers) == 12


def test_a_compressed_file_is_refused_before_it_unpacks(tmp_path):
    whole, bomb = saved(trained(), tmp_path), tmp_path / "bomb.pt"
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out:
        for name in archive.namelist():
            data = archive.read(name)
            out.writestr(name, bytes(1 << 30) + data if name.endswith("data.pkl") else data)
    assert "is compressed, as torch.save never does" in inspected(bomb)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "file.pt")
    assert "is no regular file" in inspected(tmp_path / "file.pt")


INDICES = {
    "deep": "[" * 100_000,
    "no map": json.dumps({"weight_map": ["a"]}),
    "no names": json.dumps({"weight_map": {"a": 5}}),
    "outside": json.dumps({"weight_map": {"a": "../x.safetensors"}}),
    "long": json.dumps({"weight_map": {"a": "x" * 5_000}}),
    "no character of a name": json.dumps({"weight_map": {"a": "x\0"}}),
}


@pytest.mark.parametrize("index", INDICES)
def test_an_index_of_shards_that_is_none(index, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(INDICES[index])
    text = inspected(tmp_path)
    assert str(tmp_path / "model.safetensors.index.json") in text
