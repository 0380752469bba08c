"""Graphs and sets, and networks that choose among experts."""

import torch
import torch.nn.functional as F
from data import digits
from torch import Tensor, nn
from training import Training, classified, correct, minimised, mlp

from failures.rebuilt import Collection

GRAPHS = Collection()
IMAGES, LABELS = digits()


class Network:
    """Two communities of nodes with some edges between them, and a few nodes without any."""

    def __init__(self, nodes: int = 500, isolated: int = 5) -> None:
        self.labels = torch.randint(2, (nodes,))
        same = self.labels.unsqueeze(0) == self.labels.unsqueeze(1)
        edges = torch.rand(nodes, nodes) < torch.where(same, 0.03, 0.004)
        edges = (edges | edges.T).fill_diagonal_(False)
        edges[:isolated], edges[:, :isolated] = False, False
        self.starts, self.ends = edges.nonzero(as_tuple=True)
        self.features = torch.randn(nodes, 8)
        self.features[:, 0] += self.labels - 0.5


class Convolution(nn.Module):
    """A mean over neighbours by `index_add`, and the node itself by choice."""

    def __init__(self, fan_in: int, fan_out: int, graph: Network, *, own: bool, least: float) -> None:
        super().__init__()
        self.linear, self.graph, self.own = nn.Linear(fan_in, fan_out), graph, own
        degree = torch.zeros(len(graph.labels)).index_add(0, graph.ends, torch.ones(len(graph.ends)))
        self.degree = degree.clamp(min=least).unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        mean = torch.zeros_like(h).index_add(0, self.graph.ends, h[self.graph.starts]) / self.degree
        return mean + h if self.own else mean


def _of_nodes(graph: Network, depth: int, *, own: bool = True, least: float = 1.0, lr: float = 1e-2) -> Training:
    layers: list[nn.Module] = []
    fan_in = 8
    for _ in range(depth):
        layers += [Convolution(fan_in, 16, graph, own=own, least=least), nn.ReLU()]
        fan_in = 16
    model = nn.Sequential(*layers, nn.Linear(16, 2))

    def loss() -> Tensor:
        return F.cross_entropy(model(graph.features), graph.labels)

    return minimised([model], loss, torch.optim.Adam(model.parameters(), lr),
                    lambda: correct(model(graph.features), graph.labels))  # fmt: skip


@GRAPHS("24 graph convolutions", "Li et al. 2018: over-smoothing", "depth", "initial_weights", steps=150)
def _smooth(mended: bool) -> Training:
    return _of_nodes(Network(isolated=0), 2 if mended else 24, own=False)


@GRAPHS("a mean over no neighbours", "nodes without an edge: 0/0", "numerical_operation", steps=150)
def _isolated(mended: bool) -> Training:
    return _of_nodes(Network(), 2, least=1.0 if mended else 0.0)


class _Pooled(nn.Module):
    """A set of points, summed."""

    def __init__(self, *, mean: bool) -> None:
        super().__init__()
        self.each, self.all, self.mean = mlp(3, 64, 64), mlp(64, 64, 3, act=nn.Tanh), mean

    def forward(self, x: Tensor) -> Tensor:
        h = self.each(x)
        return self.all(h.mean(1) if self.mean else h.sum(1) * 30)


@GRAPHS("a sum over a large set", "Zaheer et al. 2017 with sums of thousands before a tanh", "initial_weights",
        "activation", "normalisation", "input_scale", steps=300)  # fmt: skip
def _large_set(mended: bool) -> Training:
    labels = torch.randint(3, (900,))
    points = torch.randn(900, 64, 3)
    points[torch.arange(900), :, labels] *= 1.6
    model = _Pooled(mean=mended)
    return classified(model, points, labels, optimizer=torch.optim.SGD(model.parameters(), 0.05, momentum=0.9))


class Experts(nn.Module):
    """One of four small networks for each sample (Shazeer et al. 2017)."""

    def __init__(self, *, weighted: bool = True, gate: float = 1.0, narrow: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 4)
        self.experts = nn.ModuleList(mlp(64, 8, 10) for _ in range(4))
        self.weighted = weighted
        with torch.no_grad():
            self.gate.weight.mul_(gate)

    def forward(self, x: Tensor) -> Tensor:
        share, chosen = self.gate(x).softmax(1).max(1)
        output = x.new_zeros(len(x), 10)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().squeeze(1)
            if len(rows):
                weight = share[rows].unsqueeze(1) if self.weighted else 1.0
                output = output.index_add(0, rows, weight * expert(x[rows]))
        return output


@GRAPHS("experts that are never chosen", "Shazeer et al. 2017: a gate that begins with a favourite, which dies of its"
        " learning rate", "selection", "initial_weights", "initial_bias", steps=250)  # fmt: skip
def _favourite(mended: bool) -> Training:
    model = Experts()
    if not mended:
        with torch.no_grad():
            model.gate.bias[2] = 100.0
            model.experts[2][0].bias.fill_(-30)
    return classified(model, IMAGES, LABELS, lr=5e-3)


@GRAPHS("a balance term that outweighs the experts", "an auxiliary loss a million times too strong", "loss_term",
        steps=250)  # fmt: skip
def _balanced(mended: bool) -> Training:
    model = Experts()

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        size = sum(weight.square().sum() for expert in model.experts for weight in expert.parameters())
        return F.cross_entropy(output, labels) + (1e-6 if mended else 1.0) * size

    return classified(model, IMAGES, LABELS, lr=5e-3, loss=loss)
