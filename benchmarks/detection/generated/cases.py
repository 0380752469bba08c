"""A case by its name: `learning-rate-high=100/mlp/17` is that fault, at that dose, in the 17th design of that kind."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from generated.faults import FAULTS, Fault
from generated.job import Design, Job
from generated.networks import FAMILIES
from generated.tasks import task

CONTROL = "control"
RATES = {"adam": 3e-3, "adamw": 3e-3, "momentum": 0.02, "sgd": 0.1}
"""A usual learning rate for networks of this size."""
CONTROLS = 5
"""One in so many cases has no fault."""


@dataclass(frozen=True)
class Case:
    """A fault at a dose, in one design.

    Attributes:
        fault: None for a control.
        number: Of the design among those of its architecture, and the seed of its training.
    """

    fault: Fault | None
    dose: float
    architecture: str
    number: int

    @property
    def name(self) -> str:
        told = CONTROL if self.fault is None else f"{self.fault.name}={self.dose:g}"
        return f"{told}/{self.architecture}/{self.number}"

    @staticmethod
    def named(name: str) -> "Case":
        """The case of that name."""
        told, architecture, number = name.split("/")
        fault, _, dose = told.partition("=")
        return Case(FAULTS.get(fault), float(dose or 0), architecture, int(number))

    @property
    def design(self) -> Design:
        """As it is without the fault; what the fault needs, a regression for instance, is there."""
        design = draw_design(self.architecture, self.number)
        if self.fault is not None:
            self.fault.prepare(design, self.dose)
        return design

    def job(self, *, faulty: bool) -> Job:
        """The training, ready to start; the random stream is where its seed puts it."""
        design = self.design
        faulty = faulty and self.fault is not None
        if faulty:
            self.fault.design(design, self.dose)
        torch.manual_seed(self.number)
        job = start(design)
        if self.fault is not None:
            self.fault.both(job, self.dose)
        if faulty:
            self.fault.job(job, self.dose)
        return job


def start(design: Design) -> Job:
    """Build what the design says."""
    learned = task(design.data)
    assert learned is not None
    model = FAMILIES[design.architecture].build(design, learned)
    loss = learned.loss
    job = Job(model, learned, learned.inputs, learned.targets, design, lambda model, x: model(x), loss)
    if design.architecture == "vae":
        job.terms.append(lambda model: 0.1 * model.divergence)
    return job


def draw_design(architecture: str, number: int) -> Design:
    """The design of that number; the same whatever the fault."""
    drawn = random.Random(f"{architecture}/{number}")
    family = FAMILIES[architecture]
    optimizer = drawn.choice(family.optimizers)
    data = drawn.choice([name for name in family.data if task(name) is not None])
    return Design(
        architecture=architecture,
        data=data,
        activation=drawn.choice(family.activations),
        width=drawn.choice(family.widths),
        depth=drawn.choice(family.depths),
        norm=drawn.choice(family.norm),
        style=drawn.choice(("modules", "functions")),
        optimizer=optimizer,
        lr=float(f"{RATES[optimizer] * 10 ** drawn.uniform(-0.25, 0.15):.2g}"),
        batch=family.batch,
        steps=family.steps,
        seed=number,
        options={"momentum": 0.9} if optimizer == "momentum" else {},
    )


def draw_cases(count: int, seed: int) -> Iterator[Case]:
    """So many cases: each fault comes up in turn, and one case in five has none."""
    waiting: list[Fault] = []
    for number in range(count):
        # Each place has a stream of its own: a fault that is changed or added leaves the others' dose and design.
        drawn = random.Random(f"{seed}/{number}")
        if number % CONTROLS == 0:
            yield Case(None, 0.0, drawn.choice(list(FAMILIES)), drawn.randrange(10_000))
            continue
        if not waiting:
            waiting = list(FAULTS.values())
            drawn.shuffle(waiting)
        fault = waiting.pop()
        dose = drawn.choice(fault.doses)
        while True:
            case = Case(fault, dose, drawn.choice(list(FAMILIES)), drawn.randrange(10_000))
            if fault.fits(draw_design(case.architecture, case.number)):
                yield case
                break
