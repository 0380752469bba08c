"""Layouts: whose state is whose, found where it is unambiguous and said where it is not."""

import json
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rectifier.checkpoints import read_checkpoint
from rectifier.errors import UnreadableCheckpoint
from rectifier.report.sentences.checkpoint import remark
from tests.edge import judge_checkpoint, where


def steps(model, optimizer, count=120, silent=()):
    """Steps on random gradients; `silent` are (parameter, row) that have none."""
    generator = torch.Generator().manual_seed(0)
    parameters = dict(model.named_parameters())
    for _ in range(count):
        for parameter in parameters.values():
            parameter.grad = None
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        for name, row in silent:
            parameters[name].grad[row] = 0
        optimizer.step()
    return optimizer


class Odd(nn.Module):
    """Buffers between the parameters, and layers of one shape."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.second = nn.Linear(6, 6)
        self.third = nn.Linear(6, 6)
        self.register_buffer("mask", torch.ones(6, 6))
        self.last = nn.Linear(6, 2)


def told(content, tmp_path, name="checkpoint.pt"):
    torch.save(content, tmp_path / name)
    return judge_checkpoint(read_checkpoint(tmp_path / name))


def silent_rows(inspection):
    return {layer.name: layer.silent for layer in inspection.layers if layer.silent}


SILENT = [("second.weight", 1), ("second.weight", 4), ("third.weight", 5)]
EXPECTED = {"second.weight": 2, "third.weight": 1}


@pytest.mark.parametrize("keys", [("model", "optimizer"), ("state_dict", "optim"), ("net", "whatever"),
                                  ("model_state_dict", "optimizer_state_dict")])  # fmt: skip
def test_any_keys_and_buffers_between(tmp_path, keys):
    model = Odd()
    optimizer = steps(model, torch.optim.Adam(model.parameters()), silent=SILENT)
    inspection = told({"epoch": 3, keys[0]: model.state_dict(), keys[1]: optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == EXPECTED
    assert inspection.step == 120
    assert inspection.layout == f"dictionary with `{keys[0]}`"


def test_a_plain_state_dict(tmp_path):
    inspection = told(Odd().state_dict(), tmp_path)
    assert inspection.layout == "state dict"
    assert [layer.silent for layer in inspection.layers] == [None] * 5
    assert "No optimizer state" in inspection.untold[0].text


def test_wrapped_names_are_kept_and_matched(tmp_path):
    model = Odd()
    optimizer = steps(model, torch.optim.Adam(model.parameters()), silent=SILENT)
    wrapped = OrderedDict((f"module.{name}", tensor) for name, tensor in model.state_dict().items())
    inspection = told({"model": wrapped, "optimizer": optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == {f"module.{name}": count for name, count in EXPECTED.items()}


def test_weight_decay_groups_reorder_the_numbers_and_are_told_apart(tmp_path):
    model = Odd()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = steps(model, torch.optim.AdamW(groups), silent=SILENT)
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == EXPECTED


def test_groups_that_fit_in_more_than_one_way_are_left_without_names(tmp_path):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    groups = [{"params": model[1].parameters()}, {"params": [*model[0].parameters(), *model[2].parameters()]}]
    optimizer = steps(model, torch.optim.Adam(groups), silent=[("1.weight", 3)])
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert any("more than one order of the weights fits" in reason.text for reason in inspection.untold)
    assert silent_rows(inspection) == {"optimizer parameter 0": 1}
    # Weights drawn at random may have a row that looks dead by itself.
    (finding,) = [one for one in inspection.findings if one.rule == "silent-rows"]
    assert finding.severity == "info"
    assert "Its name is not known" in finding.detail


def test_names_that_the_optimizer_keeps_settle_it(tmp_path):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    named = list(model.named_parameters())
    groups = [{"params": named[2:4]}, {"params": named[:2] + named[4:]}]
    optimizer = steps(model, torch.optim.Adam(groups), silent=[("1.weight", 3)])
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == {"1.weight": 1}
    assert not inspection.untold


def test_a_model_of_another_shape_is_left_without_names(tmp_path):
    model, other = Odd(), nn.Linear(9, 9)
    optimizer = steps(other, torch.optim.Adam(other.parameters()), silent=[("weight", 2)])
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert any("no order of the weights fits their shapes" in reason.text for reason in inspection.untold)
    assert silent_rows(inspection) == {"optimizer parameter 0": 1}


def test_frozen_weights_are_told_apart(tmp_path):
    model = Odd()
    model.register_buffer("mask", torch.ones(6, 6), persistent=False)
    model.first.requires_grad_(False)
    optimizer = steps(model, torch.optim.Adam(model.parameters()), silent=SILENT)
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == EXPECTED
    assert {layer.name: remark(layer) for layer in inspection.layers if layer.remark} == {"first.weight": "frozen"}
    assert all(where(finding) != "first.weight" for finding in inspection.findings)


def test_what_is_not_in_the_optimizer_is_told_apart(tmp_path):
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2))
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
    # Its numbers begin at the second layer, and fit in one way only.
    steps(model, optimizer, silent=[("1.weight", 3)])
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == {"1.weight": 1}
    assert [remark(layer) for layer in inspection.layers] == ["not in the optimizer", "", ""]
    assert not inspection.untold


def test_a_weight_that_was_frozen_on_the_way_took_fewer_steps(tmp_path):
    model = Odd()
    optimizer = steps(model, torch.optim.Adam(model.parameters()), 150)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "early.pt")
    model.second.requires_grad_(False)
    steps(model, optimizer, 150, silent=[("third.weight", 2)])
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "late.pt")
    inspection = judge_checkpoint(read_checkpoint(tmp_path / "late.pt", tmp_path / "early.pt"))
    remarks = {layer.name: remark(layer) for layer in inspection.layers if layer.name != "mask"}
    assert remarks.pop("second.weight") == "took 150 of 300 steps, frozen in the others"
    assert set(remarks.values()) == {""}
    assert silent_rows(inspection) == {"third.weight": 1}
    assert [where(finding) for finding in inspection.findings] == ["third.weight"]


def test_a_frozen_weight_among_buffers_leaves_the_others_their_names(tmp_path):
    model = Odd()
    model.first.requires_grad_(False)
    optimizer = steps(model, torch.optim.Adam(model.parameters()), silent=SILENT)
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    # The entries without state may be the buffer's or the first layer's, whose bias is as long as the norm's two.
    assert silent_rows(inspection) == EXPECTED
    assert any(
        "4 of the optimizer's 10 entries could not be given a name" in reason.text for reason in inspection.untold
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_without_momentum_keeps_nothing_and_that_is_said(tmp_path, momentum):
    model = Odd()
    optimizer = steps(model, torch.optim.SGD(model.parameters(), 1e-3, momentum=momentum), 300, silent=SILENT)
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == ({} if not momentum else EXPECTED)
    assert any("the optimizer keeps no state" in reason.text for reason in inspection.untold) == (not momentum)
    assert not any("frozen" in remark(layer) for layer in inspection.layers)


def test_tied_weights_count_once(tmp_path):
    model = nn.Sequential(OrderedDict(embed=nn.Embedding(9, 4), fc=nn.Linear(4, 4), head=nn.Linear(4, 9, bias=False)))
    model.head.weight = model.embed.weight
    optimizer = steps(model, torch.optim.Adam(model.parameters()), silent=[("embed.weight", 7), ("fc.weight", 2)])
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert silent_rows(inspection) == {"embed.weight": 1, "fc.weight": 1}
    # Rows of a table that nobody looked up are normal.
    assert [where(finding) for finding in inspection.findings] == ["fc.weight"]
    assert inspection.layers[0].remark == "embedding"


def test_copies_that_follow_the_weights_are_left_out(tmp_path):
    model = Odd()
    optimizer = steps(model, torch.optim.Adam(model.parameters()), silent=SILENT)
    inspection = told(
        {"model": model.state_dict(), "model_ema": Odd().state_dict(), "optimizer": optimizer.state_dict()}, tmp_path
    )
    assert silent_rows(inspection) == EXPECTED
    assert any("`model_ema` is taken for a copy" in reason.text for reason in inspection.untold)


def test_two_networks_with_an_optimizer_each(tmp_path):
    maker, critic = Odd(), nn.Sequential(nn.Linear(2, 7), nn.Linear(7, 1))
    first = steps(maker, torch.optim.Adam(maker.parameters()), silent=SILENT)
    second = steps(critic, torch.optim.Adam(critic.parameters()), silent=[("0.weight", 6)])
    content = {
        "netG": maker.state_dict(), "netD": critic.state_dict(), "optG": first.state_dict(), "optD": second.state_dict()
    }  # fmt: skip
    assert silent_rows(told(content, tmp_path)) == {
        "netG.second.weight": 2, "netG.third.weight": 1, "netD.0.weight": 1
    }  # fmt: skip


def test_lightning(tmp_path):
    model = Odd()
    optimizer = steps(model, torch.optim.Adam(model.parameters()), silent=SILENT)
    content = {
        "epoch": 1, "global_step": 120, "pytorch-lightning_version": "2.6.6", "callbacks": {}, "loops": {},
        "state_dict": OrderedDict((f"net.{name}", tensor) for name, tensor in model.state_dict().items()),
        "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [],
    }  # fmt: skip
    inspection = told(content, tmp_path, "last.ckpt")
    assert inspection.layout == "Lightning checkpoint"
    assert silent_rows(inspection) == {f"net.{name}": count for name, count in EXPECTED.items()}


def test_units_of_transposed_weights_lie_along_the_other_dimension(tmp_path):
    class Conv1D(nn.Module):
        """GPT-2's: its weight is (inputs, outputs)."""

        def __init__(self, inputs, outputs):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(inputs, outputs))
            self.bias = nn.Parameter(torch.zeros(outputs))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.ModuleDict({"c_proj": Conv1D(6, 6)})
            self.mlp = nn.ModuleDict({"c_fc": Conv1D(6, 9), "c_proj": Conv1D(9, 6)})
            self.up = nn.ConvTranspose2d(6, 3, 2)

    model = Block()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(110):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        model.attn["c_proj"].weight.grad[:, 2] = 0
        model.mlp["c_fc"].weight.grad[:, 7] = 0
        model.up.weight.grad[:, 1] = 0
        optimizer.step()
    inspection = told({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert {layer.name: (layer.rows, layer.silent) for layer in inspection.layers} == {
        "attn.c_proj.weight": (6, 1), "mlp.c_fc.weight": (9, 1), "mlp.c_proj.weight": (6, 0), "up.weight": (3, 1)
    }  # fmt: skip


def hugging_face(folder, model, optimizer, *, safe, shards=False):
    folder.mkdir()
    state, extension = model.state_dict(), "safetensors" if safe else "bin"
    stem = "model" if safe else "pytorch_model"
    names = list(state)
    parts = {f"{stem}.{extension}": names}
    if shards:
        half = len(names) // 2
        parts = {f"{stem}-1-of-2.{extension}": names[:half], f"{stem}-2-of-2.{extension}": names[half:]}
        weight_map = {name: file for file, inside in parts.items() for name in inside}
        (folder / f"{stem}.{extension}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for file, inside in parts.items():
        if safe:
            save_file({name: state[name].contiguous() for name in inside}, folder / file)
        else:
            torch.save({name: state[name].clone() for name in inside}, folder / file)
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    return judge_checkpoint(read_checkpoint(folder))


@pytest.mark.parametrize("shards", [False, True])
def test_a_folder_of_hugging_faces(tmp_path, shards):
    model = Odd()
    optimizer = steps(model, torch.optim.AdamW(model.parameters()), silent=SILENT)
    inspection = hugging_face(tmp_path / "bin", model, optimizer, safe=False, shards=shards)
    assert inspection.layout.startswith("Hugging Face folder (pytorch_model.bin")
    assert silent_rows(inspection) == EXPECTED


@pytest.mark.parametrize("shards", [False, True])
def test_safetensors_lose_the_order_and_only_what_shapes_settle_is_named(tmp_path, shards):
    model = nn.Sequential(
        OrderedDict(start=nn.Linear(4, 6), b=nn.Linear(6, 6), a=nn.Linear(6, 6), end=nn.Linear(6, 2))
    )  # fmt: skip
    silent = [("start.weight", 1), ("b.weight", 4), ("b.weight", 5), ("a.weight", 0)]
    optimizer = steps(model, torch.optim.AdamW(model.parameters()), silent=silent)
    inspection = hugging_face(tmp_path / "safe", model, optimizer, safe=True, shards=shards)
    assert silent_rows(inspection) == {"start.weight": 1, "optimizer parameter 2": 2, "optimizer parameter 4": 1}
    assert any("a safetensors file sorts its weights by name" in reason.text for reason in inspection.untold)


def test_like_weights_of_numbered_layers_are_named_by_their_numbers(tmp_path):
    model = nn.Sequential(
        *(nn.ModuleDict({"z": nn.Linear(4, 6), "a": nn.Linear(6, 4), "b": nn.Linear(4, 4)}) for _ in range(12))
    )
    silent = [("2.z.weight", 1), ("2.z.weight", 5), ("10.z.weight", 3), ("11.a.weight", 0), ("3.b.weight", 2)]
    optimizer = steps(model, torch.optim.AdamW(model.parameters()), silent=silent)
    inspection = hugging_face(tmp_path / "safe", model, optimizer, safe=True)
    assert [layer.name for layer in inspection.layers[:7:3]] == ["0.a.weight", "1.a.weight", "10.a.weight"]
    assert silent_rows(inspection) == {"2.z.weight": 2, "10.z.weight": 1, "11.a.weight": 1, "3.b.weight": 1}
    # A group a layer, from the last one on: the numbers run the other way, and nothing is guessed.
    groups = [{"params": layer.parameters()} for layer in reversed(model)]
    optimizer = steps(model, torch.optim.AdamW(groups), silent=silent)
    inspection = hugging_face(tmp_path / "layers", model, optimizer, safe=True)
    assert all(name.startswith("optimizer parameter") for name in silent_rows(inspection))
    assert len(silent_rows(inspection)) == 4


def test_an_optimizer_alone_names_the_way_out(tmp_path):
    model = Odd()
    torch.save(steps(model, torch.optim.Adam(model.parameters()), 1).state_dict(), tmp_path / "optimizer.pt")
    with pytest.raises(UnreadableCheckpoint, match="an optimizer's state and no weights: name the folder"):
        read_checkpoint(tmp_path / "optimizer.pt")


def test_rows_that_did_not_move_by_a_bit(tmp_path):
    model = Odd()
    torch.save(model.state_dict(), tmp_path / "earlier.pt")
    with torch.no_grad():
        model.second.weight[[0, 1, 2, 4]] += 1e-3
        model.second.bias[5] = torch.nextafter(model.second.bias[5], torch.tensor(9.0))
        model.third.weight[0, 0] = -0.0
        model.last.weight.copy_(torch.full((2, 6), torch.nan))
    torch.save(model.state_dict(), tmp_path / "later.pt")
    inspection = judge_checkpoint(read_checkpoint(tmp_path / "later.pt", tmp_path / "earlier.pt"))
    unmoved = {layer.name: layer.unmoved for layer in inspection.layers}
    assert unmoved == {"first.weight": 6, "second.weight": 1, "third.weight": 5, "mask": 6, "last.weight": 0}
    by_site = {where(finding): finding for finding in inspection.findings}
    assert by_site["second.weight"].units == (3,)
    assert by_site["second.weight"].title == "second.weight: 1 of 6 rows did not move"
    # A weight that stands still as a whole is frozen, or a buffer: no accusation.
    assert "first.weight" not in by_site
    assert by_site["last.weight"].rule == "non-finite"
    assert inspection.worst == "serious"


def test_the_later_checkpoint_comes_first(tmp_path):
    model = Odd()
    for count, name in ((3, "early.pt"), (9, "late.pt")):
        optimizer = steps(model, torch.optim.Adam(model.parameters()), count)
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / name)
    late, early = tmp_path / "late.pt", tmp_path / "early.pt"
    assert read_checkpoint(late, early).steps_between == 6
    with pytest.raises(UnreadableCheckpoint, match=f"rectifier inspect {late} {early}"):
        read_checkpoint(early, late)
