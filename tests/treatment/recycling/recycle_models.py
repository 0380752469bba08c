"""Networks with dead units, and the findings that a watch would make of them."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from tests.findings import dead_units, ref

DEEPLY = 1e4


def dead(site, units, *, suspected=0, confirmed=True):
    """`Sequential.1` is the site `1` of a Sequential; whatever is no class is the path of a `Net`."""
    if isinstance(site, str) and site[0].isupper():
        model, _, path = site.partition(".")
        site = ref(path, model=model)
    units = tuple(units)
    count = len(units) if confirmed else 0
    return dead_units(site, units=99, dead=count, suspected=suspected if confirmed else len(units), indices=units)


def kill(layer, units):
    """Give units a bias that no input overcomes."""
    with torch.no_grad():
        layer.bias[list(units)] = -DEEPLY


def picture(model, optimizer):
    """Everything that must not change unasked."""
    state = {name: value.clone() for name, value in model.state_dict(keep_vars=False).items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    moments = [
        {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in optimizer.state[p].items()}
        for group in optimizer.param_groups
        for p in group["params"]
        if p in optimizer.state
    ]
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    modes = [module.training for module in model.modules()]
    return state, grads, moments, copy.deepcopy(groups), modes, torch.get_rng_state()


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def train(model, optimizer, batch, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(batch)).backward()
        optimizer.step()


def loss(outputs):
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum((out - 0.3).square().mean() for out in outputs)


class Block(nn.Module):
    """Layer, perhaps a normalisation, activation, perhaps a pooling, perhaps past a sum."""

    def __init__(self, inputs, outputs, kind="conv", norm=None, call="module", after=None, residual=None, act=None):
        super().__init__()
        groups = {"grouped": 2, "depthwise": inputs}.get(kind, 1)
        outputs = inputs if kind == "depthwise" or residual else outputs
        if kind == "transposed":
            self.layer = nn.ConvTranspose2d(inputs, outputs, 3, padding=1)
        elif kind == "transposed grouped":
            self.layer = nn.ConvTranspose2d(inputs, outputs, 3, padding=1, groups=2)
        else:
            mode = "circular" if kind == "circular" else "zeros"
            self.layer = nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, padding_mode=mode)
        self.norm = {
            None: nn.Identity,
            "batch": lambda: nn.BatchNorm2d(outputs),
            "group": lambda: nn.GroupNorm(1, outputs),
            "instance": lambda: nn.InstanceNorm2d(outputs, affine=True),
        }[norm]()
        self.act = act if act is not None else nn.ReLU(inplace=call == "inplace")
        self.after = {
            None: nn.Identity,
            "max": lambda: nn.MaxPool2d(3, 1, 1),
            "avg": lambda: nn.AvgPool2d(3, 1, 1),
            "dropout": lambda: nn.Dropout(0.3),
            "layer": lambda: nn.GroupNorm(1, outputs),
            "batch": lambda: nn.BatchNorm2d(outputs),
        }[after]()
        self.call, self.residual, self.outputs = call, residual, outputs

    def forward(self, x):
        z = self.norm(self.layer(x))
        if self.residual == "before":
            z = z + x
        h = F.relu(z) if self.call == "function" else z.relu() if self.call == "method" else self.act(z)
        if self.residual == "after":
            h = h + x
        if self.residual == "past":
            h = h + z
        return self.after(h)

    def kill(self, units):
        kill(self.norm if getattr(self.norm, "bias", None) is not None else self.layer, units)


class Net(nn.Module):
    """Blocks, then the mean or all positions, then one or several heads."""

    def __init__(self, blocks, heads=1, end="mean", twice=False, tied=False, leak=False):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.end, self.twice, self.leak = end, twice, leak
        features = blocks[-1].outputs * (1 if end == "mean" else 16)
        self.heads = nn.ModuleList(nn.Linear(features, 3 + i) for i in range(heads))
        if tied and len(blocks) > 1 and blocks[0].layer.weight.shape == blocks[1].layer.weight.shape:
            blocks[1].layer.weight = blocks[0].layer.weight

    def forward(self, x):
        for number, block in enumerate(self.blocks):
            x = block(x)
            if self.twice and number == len(self.blocks) - 1 and block.layer.weight.shape[0] == x.shape[1]:
                x = block(x) if block.layer.weight.shape[1] * getattr(block.layer, "groups", 1) == x.shape[1] else x
        features = x.mean((2, 3)) if self.end == "mean" else x.flatten(1)
        outputs = tuple(head(features) for head in self.heads)
        return (*outputs, features) if self.leak else outputs

    def label(self, number):
        block = self.blocks[number]
        if block.call in ("function", "method"):
            return f"blocks.{number}", 0
        path = next(path for path, module in self.named_modules() if module is block.act)
        before = [b for b in self.blocks[:number] if b.act is block.act and b.call in ("module", "inplace")]
        return path, len(before)


def label(path, call):
    return ref(path, call=call)


__all__ = ["Block", "Net", "dead", "kill", "label", "loss", "picture", "same", "train"]
