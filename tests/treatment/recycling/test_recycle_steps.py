"""The optimizer after recycling: recycled rows step like live ones, live ones as if nothing had happened."""

import copy

import pytest
import torch
from torch import nn

from rectifier.datasets import digits
from rectifier.errors import CannotRecycle
from rectifier.treatment import recycle
from rectifier.treatment.recycling import EXACT, state
from rectifier.treatment.recycling.slots import Slot
from tests.treatment.recycling.recycle_models import dead, kill, picture, same

UNITS = tuple(range(0, 31, 5))
WIDTH = 32
LIVE = [unit for unit in range(WIDTH) if unit not in UNITS]
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "SGD momentum": lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, nesterov=True, foreach=True),
    "Adam": lambda p: torch.optim.Adam(p, 1e-3),
    "Adam amsgrad": lambda p: torch.optim.Adam(p, 1e-3, amsgrad=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, 1e-3, fused=True),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-3),
    "RAdam": lambda p: torch.optim.RAdam(p, 1e-3, foreach=True),
    "Adamax": lambda p: torch.optim.Adamax(p, 1e-3),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 1e-2),
    "Adadelta": lambda p: torch.optim.Adadelta(p, 1.0),
    "Rprop": lambda p: torch.optim.Rprop(p, 1e-4),
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums round differently on other numbers of threads, and a training drifts apart from there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Digits:
    """A network on handwritten digits, trained for a while, with dead units in its first layer."""

    def __init__(self, optimizer=OPTIMIZERS["Adam"], steps=200, units=UNITS):
        torch.manual_seed(0)
        data = digits()
        self.inputs, self.labels = torch.from_numpy(data.train_inputs), torch.from_numpy(data.train_labels)
        self.model = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 24), nn.ReLU(), nn.Linear(24, 10))
        kill(self.model[0], units)
        self.optimizer = optimizer(self.model.parameters())
        self.draws = torch.Generator().manual_seed(1)
        self.finding = dead("Sequential.1", units)
        for _ in range(steps):
            self.step()

    def backward(self):
        batch = torch.randint(0, len(self.inputs), (64,), generator=self.draws)
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(self.inputs[batch]), self.labels[batch]).backward()

    def step(self):
        self.backward()
        self.optimizer.step()

    def recycle(self, **options):
        return recycle(self.model, self.optimizer, self.finding, batch=self.inputs[:256], **options)

    @property
    def sides(self):
        """Incoming rows and outgoing columns, one row for each unit."""
        return self.model[0].weight.detach(), self.model[2].weight.detach().T

    def ratios(self, steps):
        """Update of the recycled over that of the live units, root mean square over entries, at each step."""
        firing = (self.model[:2](self.inputs).amax(0) > 0).nonzero().flatten().tolist()
        live = [unit for unit in LIVE if unit in firing]
        found = []
        for _ in range(steps):
            before = [side.clone() for side in self.sides]
            self.step()
            moved = [now - then for now, then in zip(self.sides, before, strict=True)]
            found.append([rms(side[list(UNITS)]) / rms(side[live]) for side in moved])
        return torch.tensor(found)


def rms(values):
    return float(values.square().mean().sqrt())


def test_recycled_rows_step_like_live_ones_for_a_thousand_steps():
    run = Digits()
    run.recycle()
    ratios = run.ratios(1000)
    assert float(ratios[:10].max()) < 2
    assert float(ratios[10:].min()) > 0.25
    assert float(ratios[10:].max()) < 2
    assert (run.model[:2](run.inputs)[:, list(UNITS)] > 0).any(0).all()


@pytest.mark.parametrize("method", ["redo", "continual"])
def test_the_published_methods_begin_with_steps_several_times_as_large(method):
    run = Digits()
    run.recycle(method=method)
    assert float(run.ratios(3)[:, 1].max()) > 1.5


def test_a_scale_of_zero_would_be_caught(monkeypatch):
    monkeypatch.setattr(state, "_median", lambda held, lives, number, shape: torch.zeros(shape))
    run = Digits()
    run.recycle()
    assert float(run.ratios(10).max()) > 2


def test_a_step_count_set_back_would_be_caught():
    run = Digits()
    run.recycle()
    for values in run.optimizer.state.values():
        values["step"].zero_()
    # Live rows then step at a fraction of what they did, and the recycled ones beside them, too: the ratio cannot
    # tell, the live rows' own updates do.
    with pytest.raises(AssertionError):
        live_rows_step_as_before(run)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_live_rows_step_bit_for_bit_as_if_nothing_had_been_recycled(name):
    # An even number, so that no live unit is split.
    run = Digits(OPTIMIZERS[name], steps=20, units=UNITS[:6])
    run.recycle()
    live_rows_step_as_before(run, OPTIMIZERS[name])


def live_rows_step_as_before(run, optimizer=OPTIMIZERS["Adam"]):
    """Give the same gradients to the recycled network and to the one that it was."""
    twin = Digits(optimizer, steps=20 if run.finding.units != UNITS else 200, units=run.finding.units)
    twin.backward()
    for own, other in zip(run.model.parameters(), twin.model.parameters(), strict=True):
        own.grad = other.grad.clone()
    run.optimizer.step()
    twin.optimizer.step()
    live = [unit for unit in range(WIDTH) if unit not in run.finding.units]
    for own, other in zip(run.sides, twin.sides, strict=True):
        assert torch.equal(own[live], other[live])
    assert torch.equal(run.model[0].bias[live], twin.model[0].bias[live])
    assert torch.equal(run.model[2].bias, twin.model[2].bias)
    assert torch.equal(run.model[4].weight, twin.model[4].weight)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_of_exactly_the_recycled_entries_is_set_to_that_of_live_ones_at_rest(name):
    run = Digits(OPTIMIZERS[name], steps=20)
    before = copy.deepcopy(run.optimizer.state_dict())
    change = run.recycle()
    row = EXACT[type(run.optimizer).__name__]
    seen = set()
    fires = (run.model[:2](run.inputs[:256]).amax(0) > 0).nonzero().flatten().tolist()
    live = [unit for unit in LIVE if unit in fires]
    for number, (values, then) in enumerate(
        zip(run.optimizer.state_dict()["state"].values(), before["state"].values(), strict=True)
    ):
        for key, now in values.items():
            if not isinstance(now, torch.Tensor) or now.numel() == 1 or number > 2:
                assert same(now, then[key]), key
                continue
            now, old = (now.T, then[key].T) if number == 2 else (now, then[key])
            seen.add(key)
            expected = old[live].median(0).values if row[key] == "scale" else torch.zeros_like(old[0])
            assert torch.equal(now[LIVE], old[LIVE])
            assert all(torch.equal(now[unit], expected) for unit in UNITS)
    assert seen == set(row) & {key for values in before["state"].values() for key in values if values[key] is not None}
    groups = [{k: v for k, v in group.items() if k != "params"} for group in before["param_groups"]]
    assert groups == [{k: v for k, v in g.items() if k != "params"} for g in run.optimizer.state_dict()["param_groups"]]
    change.undo()
    assert same(run.optimizer.state_dict()["state"], before["state"])


def test_a_wrong_sign_of_the_outgoing_weights_would_be_refused_and_taken_back(monkeypatch):
    run = Digits(steps=20)
    before = picture(run.model, run.optimizer)
    right = Slot.write

    def wrong(self, values):
        outgoing = self.name == "2.weight" and isinstance(values, torch.Tensor) and values.any()
        right(self, values.abs() if outgoing else values)

    with monkeypatch.context() as patch:
        patch.setattr("rectifier.treatment.recycling.undo.Written.__init__", faulty(wrong))
        with pytest.raises(CannotRecycle, match=r"the outputs on the batch would move by .* of their size"):
            run.recycle()
    assert same(picture(run.model, run.optimizer), before)


def faulty(write):
    def init(self, slot, values):
        self.slot, self._old = slot, slot.read()
        write(slot, values)
        self._new = self._old

    return init


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda m: torch.optim.LBFGS(m.parameters()), "LBFGS cannot be told.*one history of all weights"),
        (lambda m: torch.optim.Adafactor(m.parameters()), "Adafactor cannot be told.*sums over rows and columns"),
        (lambda m: torch.optim.Muon([m[0].weight]), "Muon cannot be told.*orthogonalises"),
        (lambda m: torch.optim.ASGD(m.parameters()), "ASGD cannot be told.*average"),
        (lambda m: Own(m.parameters(), {}), r"The state of .*Own is not known.*Exact are torch's SGD, Adam, AdamW"),
        (lambda m: "Adam", "takes the optimizer second; this is a str"),
    ],
)
def test_coupled_and_unknown_states_are_refused_by_name(make, reason):
    run = Digits(steps=2)
    with pytest.raises(CannotRecycle, match=reason):
        recycle(run.model, make(run.model), run.finding, batch=run.inputs[:256])


class Own(torch.optim.Optimizer):
    def step(self):
        pass


def test_a_wrapped_optimizer_and_live_schedulers_work():
    run = Digits(steps=5)

    class Wrapper:
        optimizer = run.optimizer

    scheduler = torch.optim.lr_scheduler.StepLR(run.optimizer, 1, 0.5)
    recycle(run.model, Wrapper(), run.finding, batch=run.inputs[:256])
    run.step()
    scheduler.step()
    assert run.optimizer.param_groups[0]["lr"] == 5e-4
