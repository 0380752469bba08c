"""Loops of one's own: what connects the parameters, the gradients and the optimizer."""

import copy

import torch
import torch.nn.functional as F
from data import digits
from torch import Tensor, nn
from training import Training, batches, classified, correct, looped, minimised, mlp

from failures.rebuilt import Collection

LOOPS = Collection()
IMAGES, LABELS = digits()


def _rings() -> tuple[Tensor, Tensor]:
    """Shells in six dimensions; no random features of so few units solve it."""
    points = torch.randn(1500, 6)
    radius = points.norm(dim=1)
    return points, torch.bucketize(radius, radius.quantile(torch.tensor([1 / 3, 2 / 3])))


class _Listed(nn.Module):
    """Layers in a plain list."""

    def __init__(self, *, registered: bool) -> None:
        super().__init__()
        layers = [nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 12)]
        self.layers = nn.ModuleList(layers) if registered else layers
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)


@LOOPS("layers in a dictionary", "a plain container registers nothing", "not_registered", "not_in_optimizer",
       steps=500)  # fmt: skip
def _listed(mended: bool) -> Training:
    x, labels = _rings()
    return classified(_Listed(registered=mended), x, labels, lr=5e-3)


@LOOPS("the optimizer has the head only", "fine-tuning a network that was never pretrained", "not_in_optimizer",
       steps=500)  # fmt: skip
def _head_only(mended: bool) -> Training:
    x, labels = _rings()
    model = mlp(6, 12, 12, 12, 3)
    trained = model.parameters() if mended else model[-1].parameters()
    return classified(model, x, labels, optimizer=torch.optim.Adam(trained, 5e-3))


@LOOPS("the optimizer of a copy", "a model deep-copied after its optimizer was made", "not_in_optimizer", steps=250)
def _copied(mended: bool) -> Training:
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return classified(model if mended else copy.deepcopy(model), IMAGES, LABELS, optimizer=optimizer)


@LOOPS("frozen and forgotten", "requires_grad was taken from all layers but the last, which was then replaced",
       "frozen", steps=500)  # fmt: skip
def _forgotten(mended: bool) -> Training:
    x, labels = _rings()
    model = mlp(6, 12, 12, 12, 3)
    if not mended:
        model[:-1].requires_grad_(False)
    return classified(model, x, labels, lr=5e-3)


@LOOPS("a step for the schedule only", "scheduler.step() where optimizer.step() was meant", "optimizer_not_stepped",
       steps=250)  # fmt: skip
def _scheduled(mended: bool) -> Training:
    model, order = mlp(64, 64, 10), batches(len(IMAGES), 64)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def step() -> tuple[float, None]:
        chosen = next(order)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(IMAGES[chosen]), LABELS[chosen])
        loss.backward()
        if mended:
            optimizer.step()
        return loss.item(), None

    return looped([model], step, lambda: correct(model(IMAGES), LABELS))


@LOOPS("gradients of all steps added up", "no zero_grad", "gradient_accumulation", steps=300)
def _added(mended: bool) -> Training:
    model, order = mlp(64, 64, 64, 10), batches(len(IMAGES), 64)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step() -> tuple[float, None]:
        chosen = next(order)
        if mended:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(IMAGES[chosen]), LABELS[chosen])
        loss.backward()
        optimizer.step()
        return loss.item(), None

    return looped([model], step, lambda: correct(model(IMAGES), LABELS))


@LOOPS("a learning rate that decays by batch", "a factor of .8 meant for epochs", "learning_rate_low",
       "learning_rate_zero", steps=300)  # fmt: skip
def _decayed(mended: bool) -> Training:
    model, order = mlp(64, 64, 10), batches(len(IMAGES), 64)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999 if mended else 0.8)

    def step() -> tuple[float, None]:
        chosen = next(order)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(IMAGES[chosen]), LABELS[chosen])
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.item(), None

    return looped([model], step, lambda: correct(model(IMAGES), LABELS))


@LOOPS("gradients clipped to a ten-thousandth", "clip_grad_norm_ with the learning rate as its limit",
       "learning_rate_low", steps=300)  # fmt: skip
def _clipped(mended: bool) -> Training:
    model, order = mlp(64, 64, 10), batches(len(IMAGES), 64)

    def loss() -> Tensor:
        chosen = next(order)
        return F.cross_entropy(model(IMAGES[chosen]), LABELS[chosen])

    return minimised([model], loss, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9),
                    lambda: correct(model(IMAGES), LABELS), clip=1.0 if mended else 1e-4)  # fmt: skip


@LOOPS("half-precision Adam", "an eps of 1e-8 is 0 in float16", "precision", "optimizer_state", steps=250)
def _half(mended: bool) -> Training:
    model = mlp(64, 64, 64, 10).half()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, eps=1e-4 if mended else 1e-8)

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(output.float(), labels)

    return classified(model, IMAGES.half(), LABELS, optimizer=optimizer, loss=loss)


@LOOPS("a loss that is asked from numbers", "accuracy as a loss, made to require a gradient", "graph_cut", "objective",
       steps=250)  # fmt: skip
def _accuracy(mended: bool) -> Training:
    def loss(output: Tensor, labels: Tensor) -> Tensor:
        if mended:
            return F.cross_entropy(output, labels)
        return (output.argmax(1) != labels).float().mean().requires_grad_()

    return classified(mlp(64, 64, 10), IMAGES, LABELS, lr=3e-3, loss=loss)


@LOOPS("probabilities where logits are asked for", "softmax before cross_entropy, over the batch", "output_activation",
       "loss_shape", steps=300)  # fmt: skip
def _softmax(mended: bool) -> Training:
    model = nn.Sequential(*mlp(64, 64, 10), nn.Identity() if mended else nn.Softmax(dim=0))
    return classified(model, IMAGES, LABELS, optimizer=torch.optim.SGD(model.parameters(), 0.1))


@LOOPS("sorted by class", "the loader does not shuffle", "data_order", steps=280)
def _sorted(mended: bool) -> Training:
    model = mlp(64, 64, 10)
    order = torch.randperm(len(LABELS)) if mended else LABELS.argsort()
    at = iter([part for _ in range(20) for part in order.split(64)])

    def loss() -> Tensor:
        chosen = next(at)
        return F.cross_entropy(model(IMAGES[chosen]), LABELS[chosen])

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 1e-2), lambda: correct(model(IMAGES), LABELS))


@LOOPS("no activation between the layers", "three linear layers are one", "no_activation", steps=500)
def _linear(mended: bool) -> Training:
    x, labels = _rings()
    return classified(mlp(6, 32, 32, 3, act=nn.ReLU if mended else nn.Identity), x, labels, lr=5e-3)


@LOOPS("an encoder called under no_grad", "written for evaluation, kept for training", "graph_cut", steps=500)
def _no_grad(mended: bool) -> Training:
    x, labels = _rings()
    encoder, head = nn.Sequential(*mlp(6, 12, 12, 12), nn.ReLU()), nn.Linear(12, 3)
    order = batches(len(x), 64)

    def loss() -> Tensor:
        chosen = next(order)
        with torch.set_grad_enabled(mended):
            h = encoder(x[chosen])
        return F.cross_entropy(head(h), labels[chosen])

    return minimised([encoder, head], loss, torch.optim.Adam([*encoder.parameters(), *head.parameters()], 5e-3),
                    lambda: correct(head(encoder(x)), labels))  # fmt: skip
