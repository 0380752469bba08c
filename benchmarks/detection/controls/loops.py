"""Loops that look odd and are well: schedules, several models, several optimizers, several passes."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from data import digits
from torch import Tensor, nn
from training import Training, batches, correct, explained, looped, mlp

from controls.control import Control, registering

IMAGES, LABELS = digits()


LOOPS: list[Control] = []
register = registering(LOOPS)


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer, *, schedule: object = None, every: int = 1,
            around: Callable[[], object] | None = None, beside: Callable[[int], None] | None = None,
            penalty: Callable[[], Tensor] | None = None, labels: Tensor = LABELS) -> Training:  # fmt: skip
    """A classifier of digits whose loop has something more.

    Args:
        schedule: Stepped after each optimizer step.
        every: Batches whose gradients are added up on purpose.
        around: A context for the forward.
        beside: What is done after each step, by its number.
        penalty: A term of the loss.
    """
    order, number = batches(len(IMAGES), 64), 0

    def step() -> tuple[float, float]:
        nonlocal number
        chosen = next(order)
        if number % every == 0:
            optimizer.zero_grad()
        if around is None:
            output = model(IMAGES[chosen])
        else:
            with around():
                output = model(IMAGES[chosen])
        loss = F.cross_entropy(output.float(), labels[chosen]) / every
        if penalty is not None:
            loss = loss + penalty()
        loss.backward()
        number += 1
        if number % every == 0:
            optimizer.step()
            if schedule is not None:
                schedule.step()
        if beside is not None:
            beside(number)
        return loss.item(), None

    return looped([model], step, lambda: correct(model(IMAGES), LABELS))


@register("warm-up from 0 and a cosine to 0")
def _cosine() -> Training:
    model = mlp(64, 128, 128, 10)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    rates = torch.cat([torch.linspace(0, 1, 60), (torch.linspace(0, torch.pi, 240).cos() + 1) / 2]).tolist()
    return stepped(model, optimizer, schedule=torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rates[min(step, 299)]))  # fmt: skip


@register("restarts of the learning rate")
def _restarts() -> Training:
    model = mlp(64, 64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 50)
    return stepped(model, optimizer, schedule=schedule)


@register("gradients of four batches added up on purpose")
def _accumulated() -> Training:
    model = mlp(64, 128, 10)
    return stepped(model, torch.optim.Adam(model.parameters(), 3e-3), every=4)


@register("bfloat16 autocast")
def _autocast() -> Training:
    model = mlp(64, 128, 128, 10)
    return stepped(model, torch.optim.Adam(model.parameters(), 2e-3),
                    around=lambda: torch.autocast("cpu", dtype=torch.bfloat16))  # fmt: skip


@register("validation after every tenth step")
def _validated() -> Training:
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))

    def validate(step: int) -> None:
        if step % 10 == 0:
            model.eval()
            with torch.no_grad():
                model(IMAGES)
            model.train()

    return stepped(model, torch.optim.Adam(model.parameters(), 3e-3), beside=validate)


@register("a moving average of the weights beside it")
def _averaged() -> Training:
    model = mlp(64, 64, 10)
    average = torch.optim.swa_utils.AveragedModel(model)
    return stepped(model, torch.optim.Adam(model.parameters(), 3e-3), beside=lambda step: average.update_parameters(
        model))  # fmt: skip


@register("three folds one after the other", steps=360, floor=0.8)
def _folds() -> Training:
    models = [mlp(64, 64, 10) for _ in range(3)]
    parts = [stepped(model, torch.optim.Adam(model.parameters(), 5e-3)) for model in models]
    number = 0

    def step() -> tuple[float, None]:
        nonlocal number
        number += 1
        return parts[(number - 1) // 120 % 3].step()

    return looped(models, step, lambda: min(part.score()[0] for part in parts))


@register("a fifth of the labels is wrong", floor=0.8)
def _noisy() -> Training:
    labels = torch.where(torch.rand(len(LABELS)) < 0.2, torch.randint(10, (len(LABELS),)), LABELS)
    model = mlp(64, 64, 10)
    return stepped(model, torch.optim.Adam(model.parameters(), 2e-3), labels=labels)


@register("dropout 0.8 in a wide network")
def _dropped() -> Training:
    model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Dropout(0.8), nn.Linear(512, 10))
    return stepped(model, torch.optim.Adam(model.parameters(), 3e-3))


@register("a teacher without gradients", steps=350, floor=0.8)
def _taught() -> Training:
    """Mean teacher (Tarvainen & Valpola 2017)."""
    student = mlp(64, 64, 10)
    teacher = copy.deepcopy(student).requires_grad_(False)
    optimizer = torch.optim.Adam(student.parameters(), 3e-3)
    order = batches(len(IMAGES), 64)

    def step() -> tuple[float, None]:
        chosen = next(order)
        optimizer.zero_grad()
        with torch.no_grad():
            wanted = teacher(IMAGES[chosen]).softmax(1)
        output = student(IMAGES[chosen] + 0.1 * torch.randn(64, 64))
        loss = F.cross_entropy(output, LABELS[chosen]) + F.mse_loss(output.softmax(1), wanted)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        return loss.item(), None

    return looped([student], step, lambda: correct(student(IMAGES), LABELS))


@register("LBFGS and its closure", steps=40, floor=0.6)
def _lbfgs() -> Training:
    x = torch.randn(300, 5)
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3]
    model = mlp(5, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)

    def step() -> tuple[float, None]:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(closure).item(), None

    return looped([model], step, lambda: explained(model(x), y))


@register("groups with learning rates far apart", steps=300)
def _groups() -> Training:
    model = mlp(64, 128, 128, 10)
    groups = [{"params": model[:2].parameters(), "lr": 3e-5}, {"params": model[2:].parameters(), "lr": 3e-3}]
    return stepped(model, torch.optim.AdamW(groups))


@register("two optimizers, one for each half", steps=300)
def _halves() -> Training:
    body, head = nn.Sequential(*mlp(64, 64, 64), nn.ReLU()), nn.Linear(64, 10)
    one, two = torch.optim.SGD(body.parameters(), 0.1), torch.optim.Adam(head.parameters(), 3e-3)
    order = batches(len(IMAGES), 64)

    def step() -> tuple[float, None]:
        chosen = next(order)
        one.zero_grad()
        two.zero_grad()
        loss = F.cross_entropy(head(body(IMAGES[chosen])), LABELS[chosen])
        loss.backward()
        one.step()
        two.step()
        return loss.item(), None

    return looped([body, head], step, lambda: correct(head(body(IMAGES)), LABELS))
