"""The interceptions change nothing: not a loss, not a random draw, not what pickles, scripts, traces or compiles."""

import copy
import inspect
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.checkpoint import checkpoint

from rectifier.hooks import training
from rectifier.hooks.calls import functions
from rectifier.records import WhyUnseen

from ..watching import Watching


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.hidden = nn.Linear(6 * 9, 11)
        self.act = nn.LeakyReLU(0.1, inplace=True)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(11, 3)

    def forward(self, x):
        h = F.relu(self.norm(self.conv(x))).flatten(1)
        return self.out(self.drop(torch.relu(self.act(self.hidden(h)))))


class GroupNormNet(ConvNet):
    """Without running statistics, which torch.func refuses to update."""

    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(2, 6)


class Checkpointed(ConvNet):
    reentrant = False

    def forward(self, x):
        h = checkpoint(self._features, x, use_reentrant=self.reentrant)
        return self.out(self.act(self.hidden(h)))

    def _features(self, x):
        return F.relu(self.norm(self.conv(x))).flatten(1)


class CheckpointedReentrant(Checkpointed):
    reentrant = True


def batches(n=13):
    generator = torch.Generator().manual_seed(3)
    for _ in range(n):
        yield torch.randn(7, 1, 5, 5, generator=generator), torch.randint(3, (7,), generator=generator)


def plain(model, optimizer, call=None):
    call = model if call is None else call
    for x, y in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(call(x), y)
        loss.backward()
        optimizer.step()
        yield loss


def accumulated(model, optimizer):
    for i, (x, y) in enumerate(batches()):
        loss = F.cross_entropy(model(x), y) / 3
        loss.backward()
        if i % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
        yield loss


def autocast(model, optimizer):
    for x, y in batches():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        yield loss


def scaled(model, optimizer):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    for x, y in batches():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        yield loss


def penalised(model, optimizer):
    for x, y in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, model.parameters(), create_graph=True)
        loss = loss + 0.1 * sum(gradient.square().sum() for gradient in gradients)
        loss.backward()
        optimizer.step()
        yield loss


def closures(model, optimizer):
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    for x, y in batches(5):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        yield optimizer.step(closure)


def functional_gradient(model, optimizer):
    parameters = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss_of(weights, x, y):
        return F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)

    model.drop.p = 0.0
    for x, y in batches(3):
        gradients = torch.func.grad(loss_of)(parameters, x, y)
        for name, weight in model.named_parameters():
            weight.grad = gradients[name]
        optimizer.step()
        yield sum(gradient.sum() for gradient in gradients.values())
    yield from plain(model, optimizer)


def compiled(model, optimizer):
    yield from plain(model, optimizer, torch.compile(model, backend="aot_eager", fullgraph=True))


SETTINGS = [
    (ConvNet, plain), (ConvNet, accumulated), (ConvNet, autocast), (ConvNet, scaled), (ConvNet, penalised),
    (ConvNet, closures), (GroupNormNet, functional_gradient), (ConvNet, compiled),
    (Checkpointed, plain), (CheckpointedReentrant, plain),
]  # fmt: skip


def outcome(build, loop, watched):
    torch.manual_seed(5)
    torch._dynamo.reset()
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    watch = Watching()
    if watched:
        watch.monitor.start()
    losses = [float(loss.detach()) for loss in loop(model, optimizer)]
    watch.monitor.stop()
    process = watch.process
    weights = torch.cat([weight.detach().flatten() for weight in model.state_dict().values()])
    return losses, weights, torch.get_rng_state(), process


@pytest.mark.parametrize(("build", "loop"), SETTINGS, ids=lambda value: value.__name__)
def test_training_is_the_same_to_the_bit_with_and_without_us(build, loop):
    losses, weights, state, _ = outcome(build, loop, watched=False)
    again, weights_again, state_again, _ = outcome(build, loop, watched=False)
    assert losses == again
    assert torch.equal(weights, weights_again)
    assert torch.equal(state, state_again), "the test itself is not reproducible"

    watched, watched_weights, watched_state, process = outcome(build, loop, watched=True)
    assert watched == losses
    assert torch.equal(watched_weights, weights)
    assert torch.equal(watched_state, state)
    assert process.warnings == ()
    if loop is compiled:
        assert (
            any("compiled" in unseen.what or unseen.why is WhyUnseen.COMPILED for unseen in process.unseen)
            or not process.sites
        )
    else:
        assert sum(window.visits for snapshot in process.snapshots for window in snapshot.windows) > 0


def test_a_changed_random_stream_would_be_caught():
    class Meddler:
        armed = True

        def before(self, name, args, kwargs):
            torch.rand(1)

        def after(self, token, output):
            raise AssertionError("not interested, so never told")

    _, weights, state, _ = outcome(ConvNet, plain, watched=False)
    undo = functions.observe(Meddler())
    try:
        _, meddled, meddled_state, _ = outcome(ConvNet, plain, watched=False)
    finally:
        undo()
    assert not torch.equal(meddled, weights)
    assert not torch.equal(meddled_state, state)


optimizer_module = sys.modules[Optimizer.__module__]


def everything_torch_has():
    """All that an interception could leave behind."""
    return {
        "codes": {name: value.__code__ for name, value in vars(F).items() if inspect.isfunction(value)},
        "F": dict(vars(F)),
        "torch": {name: value for name, value in vars(torch).items() if callable(value)},
        "Tensor": dict(vars(torch.Tensor)),
        "backward": torch.autograd.backward,
        "scale": torch.amp.GradScaler.scale,
        "step hooks": dict(optimizer_module._global_optimizer_post_hooks),
        "pre hooks": dict(optimizer_module._global_optimizer_pre_hooks),
    }


def test_nothing_is_left_behind():
    before = everything_torch_has()
    model = ConvNet()
    hooks = [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()]
    with Watching(model), Watching():
        assert everything_torch_has() != before
        list(plain(model, torch.optim.SGD(model.parameters(), 0.1)))
    assert everything_torch_has() == before
    assert [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()] == hooks


def test_a_forgotten_interception_would_be_caught():
    before = everything_torch_has()
    undo = functions.observe(Watching().monitor)
    try:
        assert everything_torch_has() != before
    finally:
        undo()
    assert everything_torch_has() == before


@pytest.fixture
def watched():
    with Watching() as watch:
        yield watch


@pytest.mark.parametrize("function", [F.relu, F.leaky_relu, F.elu, torch.relu, torch.Tensor.relu_, F.gelu, F.prelu])
def test_functions_keep_name_signature_source_and_pickle(function, watched):
    name = function.__name__
    now = getattr(F, name, None) or getattr(torch, name, None) or getattr(torch.Tensor, name)
    assert now.__name__ == name
    assert pickle.loads(pickle.dumps(now)) is now
    if inspect.isfunction(function):
        assert now is function, "identity is what `activation is F.relu` tests"
        assert "input" in inspect.signature(now).parameters
        assert f"def {name}(" in inspect.getsource(now)


def test_default_transformer_layer_saves_and_loads_elsewhere(watched):
    layer = nn.TransformerEncoderLayer(8, 2, 11, batch_first=True)
    assert layer.activation is F.relu
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    watched.monitor.stop()
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    x = torch.randn(2, 5, 8)
    assert torch.equal(loaded.eval()(x), layer.eval()(x))


def test_the_activations_of_our_own_are_seen_by_name():
    from rectifier.activations import nn as ours

    model = nn.Sequential(nn.Linear(5, 7), ours.PReLU(7), nn.Linear(7, 7), ours.LeakyReLU(0.2), ours.ELU(), ours.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watching(model) as watch:
        model(torch.randn(3, 5)).mean().backward()
        optimizer.step()
    expected = ["prelu", "leaky_relu:0.2", "elu:1.0", "relu"]
    assert [(site.activation, site.kind) for site in watch.process.sites] == [(name, "module") for name in expected]


def test_whole_watched_model_saves_copies_and_scripts(watched):
    model = ConvNet()
    list(plain(model, torch.optim.SGD(model.parameters(), 0.1)))
    buffer = io.BytesIO()
    torch.save(model, buffer)
    copied = copy.deepcopy(model).eval()
    watched.monitor.stop()
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False).eval()
    x = torch.randn(3, 1, 5, 5)
    assert torch.equal(loaded(x), copied(x))
    assert b"rectifier" not in buffer.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scripting_symbolic_tracing_and_export_work_while_watched(watched):
    model = ConvNet().eval()
    x = torch.randn(3, 1, 5, 5)
    expected = model(x)
    assert torch.equal(torch.jit.script(model)(x), expected)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), expected)
    assert torch.equal(torch.export.export(model, (x,)).module()(x), expected)


def test_compiling_makes_one_graph_and_compiles_once(watched):
    # Not loaded by torch itself.
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    model = ConvNet()
    list(
        plain(
            model,
            torch.optim.SGD(model.parameters(), 0.1),
            torch.compile(model, backend=counter, fullgraph=True),
        )
    )
    assert counter.frame_count == 1


def test_a_loss_or_metric_outside_of_a_model_is_not_a_site():
    class Hinge(nn.Module):
        def forward(self, score):
            return F.relu(1 - score).mean()

    critic = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(critic.parameters(), 0.1)
    with Watching() as watch:
        for _ in range(3):
            optimizer.zero_grad()
            score = critic(torch.randn(7, 5))
            (F.relu(1 - score).mean() + score.clamp(min=0).mean() + Hinge()(score)).backward()
            optimizer.step()
    assert watch.process.sites == ()


def test_an_observer_that_raises_never_reaches_the_user():
    class Broken(training.TrainingListener):
        def on_backward(self, loss, unscaled):
            raise RuntimeError("a listener must not raise, so this one shows that the guard is the monitor's")

    undo = training.listen(Broken())
    with pytest.raises(RuntimeError, match="guard is the monitor's"):
        torch.ones(1, requires_grad=True).sum().backward()
    undo()

    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watching(model) as watch:
        watch.monitor.observation.models.after = lambda *_: 1 / 0
        losses = list(plain(model, optimizer))
    assert len(losses) == 13
    (warning,) = watch.process.warnings
    assert warning.startswith("watching stopped at step 0: ZeroDivisionError")


@pytest.mark.parametrize("place", ["on_step_start", "on_step_end"])
def test_a_failure_inside_an_optimizers_hooks_leaves_torch_going_through_them(place):
    """With another hook behind ours, taking ours away there would end the user's `step()` with a RuntimeError."""
    heard = []
    register = {"on_step_start": register_optimizer_step_pre_hook, "on_step_end": register_optimizer_step_post_hook}
    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watching(model) as watch:
        user = register[place](lambda *call: heard.append(call[0]))
        if place == "on_step_start":
            watch.monitor.observation.models.updates.remember = lambda *_: 1 / 0
        else:
            watch.monitor.observation.windows.wait = lambda **_: 1 / 0
        losses = list(plain(model, optimizer))
        user.remove()
    assert len(losses) == 13
    assert heard == [optimizer] * 13
    (warning,) = watch.process.warnings
    assert "ZeroDivisionError" in warning
    assert watch.process.series("loss").steps.size <= 1, "it went on after it had said that it stopped"


def test_a_compiler_first_met_while_watching_works_afterwards():
    """In a process of its own: Dynamo looks up torch's functions, and a tensor's methods, once."""
    code = """
import torch
import rectifier
from tests.watching import Watching
class Net(torch.nn.Module):
    def forward(self, x):
        return torch.relu(torch.nn.functional.gelu(x)).relu()
x = torch.randn(5)
with Watching():
    first = torch.compile(Net(), backend="eager", fullgraph=True)(x)
torch._dynamo.reset()
assert torch.equal(torch.compile(Net(), backend="eager", fullgraph=True)(x), first)
class InPlace(torch.nn.Module):
    def forward(self, x):
        return (x * 2).relu_()
swapped = InPlace()
rectifier.swap(swapped, "relu", "surrogate_gradient:0.1")
torch.compile(swapped, backend="eager", fullgraph=True)(x)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


class Drawing(nn.Parameter):
    """A weight of somebody's own kind: what torch's functions make of it has noise that is drawn."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **(kwargs or {}))
        if type(result) in (torch.Tensor, cls) and function.__name__ in ("linear", "detach", "norm", "abs"):
            return result + 0.01 * torch.randn_like(result)
        return result


def test_a_tensor_of_somebodys_own_kind_is_asked_nothing():
    def train():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
        model[0].weight = Drawing(model[0].weight.detach().clone())
        optimizer = torch.optim.SGD(model.parameters(), 0.1, foreach=False)
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = model(torch.randn(7, 4)).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()).hex())
        return losses, torch.get_rng_state().tolist()

    plainly = train()
    with Watching(every=1):
        assert train() == plainly
