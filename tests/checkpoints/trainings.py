"""Trainings whose rows die at known steps: real optimizers, on gradients that are given or on a tiny network's own."""

import torch
from torch import nn

ROWS, COLUMNS = 11, 5


def stepped(make, *, steps, died, seed=0, dtype=torch.float32, quiet=0.0, spread=3.0):
    """A weight and bias after so many steps of gradients that are given.

    Args:
        make: The optimizer from the parameters.
        steps: How many.
        died: Row → the last step at which it had a gradient; 0 for never.
        quiet: How often a living row has no gradient in a step.
        spread: Rows' gradients differ in size by up to this factor, either way.

    Returns:
        The state dict, the optimizer's, and for each row how many steps ago it last had a gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = nn.Parameter((torch.randn(ROWS, COLUMNS, generator=generator) / 3).to(dtype))
    bias = nn.Parameter(torch.zeros(ROWS, dtype=dtype))
    optimizer = make([weight, bias])
    size = spread ** (2 * torch.rand(ROWS, 1, generator=generator) - 1)
    last = torch.full((ROWS, 1), steps)
    for row, step in died.items():
        last[row] = step
    seen = torch.zeros(ROWS, dtype=torch.long)
    inputs = torch.rand(COLUMNS, generator=generator) + 0.5
    for step in range(1, steps + 1):
        alive = (last >= step) & (torch.rand(ROWS, 1, generator=generator) >= quiet)
        delta = 1e-2 * size * torch.randn(ROWS, 1, generator=generator) * alive
        noisy = inputs * (0.5 + torch.rand(COLUMNS, generator=generator))
        weight.grad, bias.grad = (delta * noisy).to(dtype), delta[:, 0].to(dtype)
        seen[(weight.grad != 0).any(1)] = step
        optimizer.step()
    model = {"fc.weight": weight.detach(), "fc.bias": bias.detach()}
    return model, optimizer.state_dict(), (steps - seen).tolist()


def network(width=8):
    return nn.Sequential(
        nn.Linear(5, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    )  # fmt: skip


def trained(make, *, steps, killed, seed=0):
    """A network some of whose units are killed by their bias after a step: (model, optimizer, steps since a gradient).

    The last is brute force: for each weight and row, how many steps ago its gradient was last other than 0.
    """
    torch.manual_seed(seed)
    model = network()
    optimizer = make(model.parameters())
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    last = [torch.zeros(layer.out_features, dtype=torch.long) for layer in layers]
    inputs = torch.randn(256, 5)
    targets = torch.stack([inputs[:, 0] * inputs[:, 1], inputs.abs().sum(1)], 1)
    for step in range(1, steps + 1):
        batch = torch.randint(0, 256, (16,))
        optimizer.zero_grad()
        (model(inputs[batch]) - targets[batch]).square().mean().backward()
        for seen, layer in zip(last, layers, strict=True):
            seen[(layer.weight.grad != 0).any(1)] = step
        optimizer.step()
        with torch.no_grad():
            for layer, row, at in killed:
                if step >= at:
                    layers[layer].bias[row] = -1e4
    return model, optimizer, [(steps - seen).tolist() for seen in last]
