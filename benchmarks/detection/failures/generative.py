"""Generators: GANs, variational autoencoders, codes, flows and diffusion."""

import math

import torch
import torch.nn.functional as F
from data import digits
from torch import Tensor, nn
from training import Training, batches, correct, explained, looped, minimised, mlp

from failures.rebuilt import Collection

GENERATIVE = Collection()
IMAGES, LABELS = digits()


def _ring(n: int) -> Tensor:
    angle = torch.rand(n) * 2 * torch.pi
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


def _on_ring(made: Tensor) -> float:
    """1 if all are on the ring and around it, 0 if they are at its middle or at one point."""
    if not made.isfinite().all():
        return float("nan")
    return float(1 - (made.norm(dim=1) - 1).abs().mean() - made.mean(0).norm())


def _wasserstein(mended: bool, wrong: str) -> Training:
    """A Wasserstein GAN with gradient penalty (Gulrajani et al. 2017), on a ring."""
    maker, critic = mlp(4, 64, 64, 2), mlp(2, 64, 64, 1)
    first = torch.optim.Adam((critic if wrong == "optimizer" and not mended else maker).parameters(), 2e-3, (0.5, 0.9))
    second = torch.optim.Adam(critic.parameters(), 2e-3, (0.5, 0.9))
    if wrong == "start" and not mended:
        with torch.no_grad():
            critic[0].weight.zero_(), critic[2].weight.zero_(), critic[4].weight.zero_()

    def penalty(real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), 1)
        between = (share * real + (1 - share) * fake).requires_grad_()
        slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
        square = slope.square().sum(1)
        length = (square + (1e-12 if wrong != "start" or mended else 0.0)).sqrt()
        return (length - 1).square().mean()

    def step() -> tuple[float, None]:
        for _ in range(3):
            real, fake = _ring(64), maker(torch.randn(64, 4)).detach()
            second.zero_grad()
            loss = critic(fake).mean() - critic(real).mean() + penalty(real, fake)
            loss.backward()
            second.step()
        made = maker(torch.randn(64, 4))
        first.zero_grad()
        if wrong == "detached" and not mended:
            made = made.detach()
        (-critic(made).mean()).backward()
        first.step()
        return loss.item(), None

    return looped([maker, critic], step, lambda: _on_ring(maker(torch.randn(1000, 4))))


@GENERATIVE("gradient penalty of a flat critic", "the root of a gradient that is exactly 0", "numerical_operation",
            steps=300, floor=0.3)  # fmt: skip
def _penalty_root(mended: bool) -> Training:
    return _wasserstein(mended, "start")


@GENERATIVE("generator trained on detached samples", "`fake.detach()` belongs in the critic's step only", "graph_cut",
            steps=300, floor=0.3)  # fmt: skip
def _maker_detached(mended: bool) -> Training:
    return _wasserstein(mended, "detached")


@GENERATIVE("generator's optimizer has the critic's parameters", "a copied line", "not_in_optimizer", steps=300,
            floor=0.3)  # fmt: skip
def _maker_optimizer(mended: bool) -> Training:
    return _wasserstein(mended, "optimizer")


def _variational(*, weight: float, inputs: Tensor = IMAGES, out: nn.Module | None = None) -> Training:
    encoder, decoder = mlp(64, 64, 16), nn.Sequential(mlp(8, 64, 64), out or nn.Identity())
    order = batches(len(inputs), 64)

    def loss() -> Tensor:
        x = inputs[next(order)]
        mean, logvar = encoder(x).chunk(2, 1)
        code = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        return (decoder(code) - x).square().mean() + weight * kl

    def score() -> float:
        return explained(decoder(encoder(inputs)[:, :8]), inputs)

    return minimised([encoder, decoder], loss, torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 2e-3),
                    score)  # fmt: skip


@GENERATIVE("VAE whose latents collapse", "Bowman et al. 2016: a sum of the KL term beside a mean over pixels",
            "loss_term", steps=500, floor=0.3)  # fmt: skip
def _collapse(mended: bool) -> Training:
    return _variational(weight=0.001 if mended else 1.0)


@GENERATIVE("VAE on pixels up to 4096", "the exponential of a log-variance overflows", "input_scale",
            "numerical_operation", steps=500, floor=0.3)  # fmt: skip
def _overflow(mended: bool) -> Training:
    return _variational(weight=0.001, inputs=IMAGES if mended else 4096 * IMAGES)


@GENERATIVE("decoder that ends in ReLU, for centred images", "half of the targets are out of reach",
            "output_activation", steps=500, floor=0.3)  # fmt: skip
def _decoder_relu(mended: bool) -> Training:
    centred = (IMAGES - IMAGES.mean(0)) / IMAGES.std()
    return _variational(weight=0.001, inputs=centred, out=nn.Identity() if mended else nn.ReLU())


@GENERATIVE("codes of which one is chosen", "van den Oord et al. 2017: codes begin far from what the encoder gives",
            "selection", "initial_weights", steps=500, floor=0.3)  # fmt: skip
def _codes(mended: bool) -> Training:
    encoder, decoder, codes = mlp(64, 64, 8), mlp(8, 64, 64), nn.Embedding(32, 8)
    order = batches(len(IMAGES), 64)
    with torch.no_grad():
        if mended:
            codes.weight.copy_(encoder(IMAGES[torch.randperm(len(IMAGES))[:32]]))
        else:
            codes.weight.add_(50)

    def quantised(z: Tensor) -> tuple[Tensor, Tensor]:
        nearest = codes(torch.cdist(z.detach(), codes.weight.detach()).argmin(1))
        return nearest, z + (nearest - z).detach()

    def loss() -> Tensor:
        x = IMAGES[next(order)]
        z = encoder(x)
        nearest, passed = quantised(z)
        commit = (z - nearest.detach()).square().mean() * 0.25 + (z.detach() - nearest).square().mean()
        return (decoder(passed) - x).square().mean() + commit

    parameters = [*encoder.parameters(), *decoder.parameters(), *codes.parameters()]
    return minimised([encoder, decoder, codes], loss, torch.optim.Adam(parameters, 2e-3),
                    lambda: explained(decoder(quantised(encoder(IMAGES))[0]), IMAGES))  # fmt: skip


def _diffusion(mended: bool, wrong: str) -> Training:
    """Predicts the noise that was added to points on a ring (Ho et al. 2020); scored by R² of that noise."""
    net = mlp(3, 128, 128, 2)
    if wrong == "output" and not mended:
        net = nn.Sequential(net, nn.Sigmoid())

    def noised() -> tuple[Tensor, Tensor]:
        time, noise = torch.randint(1, 1000, (256, 1)).float(), torch.randn(256, 2)
        kept = (time / 1000 * math.pi / 2).cos()
        seen = kept * _ring(256) + (1 - kept.square()).sqrt() * noise
        told = time if wrong == "time" and not mended else time / 500 - 1
        return torch.cat([seen, told], 1), noise

    def loss() -> Tensor:
        seen, noise = noised()
        if wrong == "target" and not mended:
            return F.mse_loss(net(seen), noise * 0)
        return F.mse_loss(net(seen), noise)

    def score() -> float:
        pairs = [noised() for _ in range(4)]
        return explained(torch.cat([net(seen) for seen, _ in pairs]), torch.cat([noise for _, noise in pairs]))

    return minimised([net], loss, torch.optim.Adam(net.parameters(), 2e-3), score)


@GENERATIVE("diffusion with a sigmoid at its end", "noise is negative half of the time", "output_activation",
            steps=500, floor=0.5)  # fmt: skip
def _noise_sigmoid(mended: bool) -> Training:
    return _diffusion(mended, "output")


@GENERATIVE("diffusion with time in steps", "a feature up to 1000 beside points of size 1", "input_scale", steps=250,
            floor=0.4)  # fmt: skip
def _time_raw(mended: bool) -> Training:
    return _diffusion(mended, "time")


class _Coupling(nn.Module):
    def __init__(self, bounded: bool) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(1, 32, 2) for _ in range(4))
        self.bounded = bounded

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for net in self.nets:
            kept, changed = x.chunk(2, 1)
            scale, shift = net(kept).chunk(2, 1)
            scale = scale.tanh() if self.bounded else scale * 20
            x = torch.cat([changed * scale.exp() + shift, kept], 1)
            total = total + scale.squeeze(1)
        return x, total


@GENERATIVE("flow whose scales are not bounded", "Dinh et al. 2017 bound them by tanh", "numerical_operation",
            "learning_rate", "recurrence", "initial_weights", steps=400, floor=-2.0)  # fmt: skip
def _flow(mended: bool) -> Training:
    flow = _Coupling(mended)

    def likelihood(x: Tensor) -> Tensor:
        z, stretched = flow(x)
        return -(0.5 * z.square().sum(1) + math.log(2 * math.pi)) + stretched

    return minimised([flow], lambda: -likelihood(3 * _ring(128)).mean(), torch.optim.Adam(flow.parameters(), 1e-2),
                    lambda: float(likelihood(3 * _ring(1000)).mean()) / 3)  # fmt: skip


@GENERATIVE("mixture density network far from its data", "Bishop 1994: exp of a width that is not bounded, log of a"
            " density that underflows", "numerical_operation", "target_scale", steps=300, floor=0.5)  # fmt: skip
def _mixture(mended: bool) -> Training:
    net = mlp(1, 32, 9)
    x = torch.rand(1500, 1) * 2 - 1
    y = 60 * (3 * x).sin() + torch.randn(1500, 1)
    targets = y / 42 if mended else y
    order = batches(1500, 64)

    def loss() -> Tensor:
        chosen = next(order)
        weight, mean, width = net(x[chosen]).chunk(3, 1)
        width = width.exp() + (1e-3 if mended else 0)
        density = (-0.5 * ((targets[chosen] - mean) / width).square()).exp() / width
        return -(weight.softmax(1) * density).sum(1).add(1e-6 if mended else 0).log().mean()

    def score() -> float:
        weight, mean, _ = net(x).chunk(3, 1)
        return explained((weight.softmax(1) * mean).sum(1, keepdim=True), targets)

    return minimised([net], loss, torch.optim.Adam(net.parameters(), 5e-3), score)


@GENERATIVE("codes read by argmax", "a one-hot code without straight-through estimator", "graph_cut", steps=400,
            floor=0.35)  # fmt: skip
def _one_hot(mended: bool) -> Training:
    encoder, decoder = nn.Sequential(nn.Linear(64, 16)), mlp(16, 64, 10)
    order = batches(len(IMAGES), 64)

    def read(x: Tensor) -> Tensor:
        return F.gumbel_softmax(encoder(x), hard=True) if mended else F.one_hot(encoder(x).argmax(1), 16).float()

    def loss() -> Tensor:
        chosen = next(order)
        return F.cross_entropy(decoder(read(IMAGES[chosen])), LABELS[chosen])

    return minimised([encoder, decoder], loss, torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 3e-3),
                    lambda: correct(decoder(F.one_hot(encoder(IMAGES).argmax(1), 16).float()), LABELS))  # fmt: skip
