"""Networks that rebuild their input, compare two, choose among experts, or pass messages."""

import torch
from torch import Tensor, nn

from generated.job import Design
from generated.networks.plain import MODULES, Stack, activation
from generated.tasks import Task


class Autoencoder(nn.Module):
    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.encoder = Stack(design, task.inputs.shape[1], 16)
        self.decoder = Stack(design, 16, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Variational(nn.Module):
    """`divergence` is the KL term of the latest forward, a mean over samples and pixels."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.encoder = Stack(design, task.inputs.shape[1], 32)
        self.decoder = Stack(design, 16, task.outputs)
        self.divergence = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.encoder(x).chunk(2, 1)
        self.divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean() / x.shape[1]
        code = mean + (0.5 * logvar).exp() * torch.randn_like(mean) if self.training else mean
        return self.decoder(code)


class Experts(nn.Module):
    """A gate chooses two of several small networks for each sample."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.stem, self.act = nn.Linear(task.inputs.shape[1], design.width), activation(design)
        self.gate = nn.Linear(design.width, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(design.width, design.width), MODULES[design.activation](), nn.Linear(design.width, 32)
            )
            for _ in range(4)
        )
        self.head = nn.Linear(32, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.stem(x))
        share, chosen = self.gate(h).softmax(1).topk(2, dim=1)
        share = share / share.sum(1, keepdim=True)
        mixed = h.new_zeros(len(x), 32)
        for number, expert in enumerate(self.experts):
            rows, rank = (chosen == number).nonzero(as_tuple=True)
            if len(rows):
                mixed = mixed.index_add(0, rows, share[rows, rank].unsqueeze(1) * expert(h[rows]))
        return self.head(mixed)


class Graph(nn.Module):
    """Messages along the edges of rings of eight nodes, summed by `index_add`."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        width, fan_in = design.width, task.inputs.shape[2]
        self.own, self.others, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for _ in range(design.depth):
            self.own.append(nn.Linear(fan_in, width))
            self.others.append(nn.Linear(fan_in, width, bias=False))
            self.norms.append(nn.BatchNorm1d(width) if design.norm else nn.Identity())
            fan_in = width
        acts = [activation(design) for _ in self.own]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        graphs, nodes = x.shape[:2]
        ring = torch.arange(nodes)
        first = nodes * torch.arange(graphs).unsqueeze(1)
        sources = torch.cat([first + ring, first + ring], 1).flatten()
        ends = torch.cat([first + ring.roll(1), first + ring.roll(-1)], 1).flatten()
        h = x.flatten(0, 1)
        for own, others, norm, act in zip(self.own, self.others, self.norms, self.acts, strict=True):
            sent = others(h)[sources]
            h = act(norm(own(h) + torch.zeros_like(own(h)).index_add(0, ends, sent)))
        return self.head(h.unflatten(0, (graphs, nodes)).mean(1))


class Siamese(nn.Module):
    """One encoder for both of a pair; the output is their distance."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.encoder = Stack(design, task.inputs.shape[2], 16)

    def forward(self, x: Tensor) -> Tensor:
        difference = self.encoder(x[:, 0]) - self.encoder(x[:, 1])
        return (difference.square().sum(1) + 1e-6).sqrt()
