"""The modules are torch's in everything but the backward pass: signature, state, copies, export, hooks, threads."""

import copy
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier.functional as rf
import rectifier.nn as rn
from rectifier.activations import module_for
from rectifier.catalogue import CATALOGUE, parse

OURS = {
    "LeakyReLU": {"negative_slope": 0.2}, "ELU": {"alpha": 0.7}, "CELU": {"alpha": 1.5}, "SELU": {},
    "PReLU": {"num_parameters": 5, "init": 0.1},
}  # fmt: skip
NAMES = [name for name in vars(rn) if not name.startswith("_") and hasattr(nn, name)]


@pytest.mark.parametrize("name", NAMES)
def test_modules_have_torchs_signatures(name):
    ours, theirs = getattr(rn, name), getattr(nn, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert inspect.signature(ours.forward) == inspect.signature(theirs.forward)
    assert issubclass(ours, theirs)


@pytest.mark.parametrize("name", [name for name in vars(rf) if not name.startswith("__") and hasattr(F, name)])
def test_functions_have_torchs_signatures(name):
    ours, theirs = getattr(rf, name), getattr(F, name)
    if inspect.isbuiltin(theirs) and ours is not theirs:
        assert list(inspect.signature(ours).parameters) == ["input", "weight"]  # prelu: torch documents these two
    elif ours is not theirs:
        assert inspect.signature(ours) == inspect.signature(theirs)


def test_the_faces_hold_activations_and_nothing_else():
    public = {name for face in (rn, rf) for name in vars(face) if not name.startswith("_")}
    known = {row.module for row in CATALOGUE.values()} | {row.function for row in CATALOGUE.values()} | set(CATALOGUE)
    own = {"SurrogateGradientReLU", "ReLUSquared", "QuickGELU", "GELU10", "Laplace", "SqrtSoftplus", "Identity"}
    public -= {"compile_prelu"}  # It makes one of them faster.
    assert {name.removesuffix("_") for name in public} <= known | own
    assert not [name for row in CATALOGUE.values() if (name := row.module) and not hasattr(rn, name)]


@pytest.mark.parametrize("name", OURS)
def test_state_is_interchangeable_and_printed_alike(name):
    ours, theirs = getattr(rn, name)(**OURS[name]), getattr(nn, name)(**OURS[name])
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for source, target in ((ours, theirs), (theirs, ours)):
        for parameter in source.parameters():
            nn.init.uniform_(parameter, -1, 1)
        target.load_state_dict(source.state_dict(), strict=True)
        x = torch.randn(7, 5)
        assert torch.equal(ours(x), theirs(x))


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("name", OURS)
def test_copies_compute_the_same(name):
    model = nn.Sequential(nn.Linear(5, 5), getattr(rn, name)(**OURS[name]))
    x = torch.randn(7, 5, requires_grad=True)
    model(x).sum().backward()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(copied[1]) is type(model[1])
        assert torch.equal(copied(x), model(x))
        if name == "PReLU":
            assert copied[1].weight is not model[1].weight


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("name", OURS)
def test_every_kind_of_hook_sees_what_it_sees_in_torchs(name):
    seen = {}
    for kind, library in (("ours", rn), ("theirs", nn)):
        torch.manual_seed(2)
        module = getattr(library, name)(**OURS[name])
        events = seen.setdefault(kind, [])
        module.register_forward_pre_hook(lambda m, args, e=events: e.append(args[0].detach()))
        module.register_forward_hook(lambda m, args, out, e=events: e.append(out.detach()))
        module.register_full_backward_hook(lambda m, given, gone, e=events: e.extend([given[0], gone[0]]))
        x = torch.randn(7, 5, requires_grad=True)
        out = module(x)
        out.register_hook(lambda delta, e=events: e.append(delta.clone()))
        out.square().sum().backward()
        events.append(x.grad)
    assert len(seen["ours"]) == len(seen["theirs"]) == 6
    for ours, theirs in zip(seen["ours"], seen["theirs"], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("ours_at_every_size")
def test_a_hook_on_the_output_may_keep_and_replace_its_gradient():
    x = torch.randn(7, 5, requires_grad=True)
    kept = []
    for function in (lambda z: rf.leaky_relu(z, 0.3), rf.elu, lambda z: rf.prelu(z, torch.tensor([0.3]))):
        h = function(x)
        h.retain_grad()
        h.register_hook(kept.append)
        h.square().sum().backward()
        assert torch.equal(h.grad, 2 * h.detach())
        assert torch.equal(kept[-1], h.grad)


@pytest.mark.usefixtures("ours_at_every_size")
def test_changing_the_output_in_place_raises_as_with_relu_and_changing_the_input_does_not():
    for function in (F.relu, lambda z: rf.leaky_relu(z, 0.3), rf.elu):
        h = function(torch.randn(7, requires_grad=True) * 1)
        h += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            h.sum().backward()
    leaf = torch.randn(7, requires_grad=True)
    z = leaf * 1
    h = rf.leaky_relu(z, 0.3)
    z += 1
    h.sum().backward()
    assert torch.equal(leaf.grad, torch.where(leaf > 0, 1.0, 0.3))


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("name", OURS)
def test_threads_do_not_disturb_each_other(name):
    module = getattr(rn, name)(**OURS[name])
    inputs = [torch.randn(67, 5, generator=torch.Generator().manual_seed(i)) for i in range(8)]

    def gradient(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(module(x).square().sum(), x)[0]

    alone = [gradient(x) for x in inputs]
    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4, initializer=barrier.wait) as pool:
        together = list(pool.map(gradient, inputs * 5))
    for index, given in enumerate(together):
        assert torch.equal(given, alone[index % 8])


class Net(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.linear, self.act = nn.Linear(3, 5), act

    def forward(self, x):
        return self.act(self.linear(x))


EXPORTED = {"LeakyReLU": "LeakyRelu", "PReLU": "PRelu", "ELU": "Elu"}


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("name", OURS)
def test_exports_as_torchs(name):
    operators = []
    for library in (rn, nn):
        program = torch.export.export(Net(getattr(library, name)(**OURS[name])), (torch.randn(7, 3),))
        operators.append([str(node.target) for node in program.graph.nodes if node.op == "call_function"])
        x = torch.randn(7, 3)
        assert program.module()(x).shape == (7, 5)
    assert operators[0] == operators[1]


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("name", EXPORTED)
def test_exports_to_onnx_as_one_operator_that_computes_the_same(name, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    model = Net(getattr(rn, name)(**OURS[name])).eval()
    x = torch.randn(7, 3)
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
    loaded = onnx.load(path)
    assert EXPORTED[name] in [node.op_type for node in loaded.graph.node]
    assert {node.op_type for node in loaded.graph.node} <= {"Gemm", EXPORTED[name], "MatMul", "Add", "Transpose"}
    (given,) = ReferenceEvaluator(loaded).run(None, {loaded.graph.input[0].name: x.numpy()})
    torch.testing.assert_close(torch.tensor(given), model(x).detach())


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("name", OURS)
def test_scripts_and_trains_compiled_as_torchs(name):
    module = getattr(rn, name)(**OURS[name])
    x = torch.randn(7, 5)
    assert torch.equal(torch.jit.script(module)(x), module(x))
    torch._dynamo.reset()
    compiled = torch.compile(Net(module), fullgraph=True, backend="aot_eager")
    z = torch.randn(7, 3, requires_grad=True)
    given = torch.autograd.grad(compiled(z).square().sum(), z)[0]
    torch.testing.assert_close(given, torch.autograd.grad(compiled._orig_mod(z).square().sum(), z)[0])


@pytest.mark.parametrize(
    "spec", ["leaky_relu:0.1", "leaky_relu:-0.1", "elu:1.0", "relu", "prelu:0.3", "gelu_tanh", "rrelu"]
)
def test_a_chosen_module_carries_its_parameter_and_overwrites_only_where_backward_can(spec):
    choice = parse(spec)
    module = module_for(choice, inplace=True, dtype=torch.float64)
    if choice.parameter is not None:
        name = {"prelu": "init"}.get(choice.activation.name, choice.activation.parameter)
        assert getattr(module, name) == choice.parameter
    assert getattr(module, "inplace", False) == (spec in ("leaky_relu:0.1", "elu:1.0", "relu", "rrelu"))
    leaf = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    module(leaf * 1).sum().backward()
    assert leaf.grad.isfinite().all()
