"""Networks that solve equations, and operations repeated many times."""

import math

import torch
from torch import Tensor, nn
from training import Training, explained, fitted, minimised, mlp

from failures.rebuilt import Collection

PHYSICS = Collection()
SOLVED = torch.linspace(-1, 1, 301).unsqueeze(1)


def _slope(y: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


def _poisson(model: nn.Module, *, boundary: float = 10.0, lr: float = 3e-3, scale: float = 1.0) -> Training:
    """u'' = −π² sin(πx), 0 at both ends; the solution is sin(πx)."""

    def loss() -> Tensor:
        x = (2 * torch.rand(64, 1) - 1).mul(scale).requires_grad_()
        force = -((math.pi / scale) ** 2) * (math.pi / scale * x).sin()
        equation = (_slope(_slope(model(x), x), x) - force).mul(scale**2).square().mean()
        ends = model(torch.tensor([[-scale], [scale]])).square().mean()
        return equation + boundary * ends

    return minimised([model], loss, torch.optim.Adam(model.parameters(), lr),
                    lambda: explained(model(SOLVED * scale), (math.pi * SOLVED).sin()))  # fmt: skip


@PHYSICS("PINN with ReLU", "Raissi et al. 2019 ask for smooth activations: the second derivative of ReLU is 0",
         "zero_higher_derivative", "activation", steps=500)  # fmt: skip
def _pinn_relu(mended: bool) -> Training:
    return _poisson(mlp(1, 32, 32, 1, act=nn.Tanh if mended else nn.ReLU))


@PHYSICS("PINN whose boundary outweighs its equation", "Wang, Teng & Perdikaris 2021: unbalanced terms", "loss_term",
         steps=500)  # fmt: skip
def _pinn_boundary(mended: bool) -> Training:
    return _poisson(mlp(1, 32, 32, 1, act=nn.Tanh), boundary=10.0 if mended else 1e9)


@PHYSICS("PINN in metres", "the domain reaches 500 units from 0, and every tanh is flat there", "input_scale",
         "initial_weights", "activation", steps=500)  # fmt: skip
def _pinn_domain(mended: bool) -> Training:
    return _poisson(mlp(1, 32, 32, 1, act=nn.Tanh), scale=1.0 if mended else 500.0)


@PHYSICS("PINN whose derivative is a constant", "a derivative taken without create_graph, or from a detached copy",
         "graph_cut", steps=500)  # fmt: skip
def _pinn_detached(mended: bool) -> Training:
    model = mlp(1, 32, 32, 1, act=nn.Tanh)

    def loss() -> Tensor:
        x = (2 * torch.rand(64, 1) - 1).requires_grad_()
        slope = _slope(model(x), x)
        equation = ((slope if mended else slope.detach()) - math.pi * (math.pi * x).cos()).square().mean()
        return equation + 10 * model(torch.zeros(1, 1)).square().mean()

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 3e-3),
                    lambda: explained(model(SOLVED), (math.pi * SOLVED).sin()))  # fmt: skip


class _Euler(nn.Module):
    """An ODE whose right side is a network, by 40 explicit steps."""

    def __init__(self, length: float) -> None:
        super().__init__()
        self.right, self.length = mlp(2, 32, 2), length

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(40):
            x = x + self.length * self.right(x)
        return x


@PHYSICS("neural ODE with long steps", "explicit Euler outside of its region of stability", "recurrence",
         "learning_rate", steps=400)  # fmt: skip
def _ode(mended: bool) -> Training:
    x = torch.randn(600, 2)
    turned = x @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    return fitted(_Euler(0.025 if mended else 3.0), x, turned, lr=1e-2)
